"""A whole table in memory, and the class ids of an image by its key."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError
from ovocr.labelgen.label_tables.cells import WrongCellError, WrongTypeError, read_ids, read_keys
from ovocr.labelgen.label_tables.columns import Columns, choose_columns
from ovocr.labelgen.label_tables.files import TableFile, find_files, open_file

_HASHED_ROWS = 100_000  # that are Python's own strings at a time

_Ids = npt.NDArray[np.int32]
_Counts = npt.NDArray[np.int64]
_Rows = tuple[pa.Array, _Counts, _Ids]  # keys [R], numbers of ids [R], ids of all rows [sum of numbers]


class LabelTable:
    """Class ids by key. Held as Arrow and numpy arrays: a row's key and 28 bytes, 4 bytes an id.

    name: the table as the user named it. columns: those that were read. sha256: of its files' bytes one after another.
    num_classes: ids are below it.
    """

    def __init__(self, name: str, columns: Columns, sha256: str, num_classes: int, rows: list[_Rows]) -> None:
        self.name = name
        self.columns = columns
        self.sha256 = sha256
        self.num_classes = num_classes
        # In pieces as they were read: one array of all keys would be a second copy while it is made.
        self._keys = pa.chunked_array([keys for keys, _, _ in rows], pa.large_string())
        self._ends = np.cumsum(np.concatenate([counts for _, counts, _ in rows]))
        self._ids = np.concatenate([ids for _, _, ids in rows])
        hashes = np.concatenate([_hash(keys) for keys, _, _ in rows])
        # Stable: rows of one key stay in the table's order.
        self._order = np.argsort(hashes, kind="stable").astype(np.uint32 if len(hashes) < 2**32 else np.uint64)
        self._hashes = hashes[self._order]

    @classmethod
    def load(
        cls, name: str, *, key_column: str | None, label_columns: Sequence[str], num_classes: int | None, limit: int
    ) -> "LabelTable":
        """Read a table of one or several files (docs/packing.md has the rules).

        key_column, label_columns: None and none for those with usual names. num_classes: ids must be below; None for
        the largest id + 1, at most ``limit``. Raises UsageError for what is no such table, OvocrError that names file,
        row and key for a cell that is wrong.
        """
        files = [open_file(path) for path in find_files(name)]
        columns = choose_columns(files[0], key_column, label_columns)
        for file in files[1:]:
            choose_columns(file, columns.key, columns.labels)
        bound = num_classes or limit
        rows = [_merge_repeats(*rows) for file in files for rows in _read_rows(file, columns, bound)]
        pa.default_memory_pool().release_unused()  # Arrow keeps what it read the files into for the next use
        largest = max((int(ids.max()) for _, _, ids in rows if len(ids)), default=-1)
        if largest < 0:
            raise OvocrError(f"{name}: this table has no class id")
        return cls(name, columns, _sha256(files), num_classes or largest + 1, rows)

    def ids(self, key: str) -> list[int]:
        """The distinct class ids of a key in the table's order; none where it has no row, or rows without ids."""
        ids: dict[int, None] = {}
        for row in self._rows_of(key):
            start = int(self._ends[row - 1]) if row else 0
            ids.update(dict.fromkeys(self._ids[start : int(self._ends[row])].tolist()))
        return list(ids)

    def _rows_of(self, key: str) -> Iterator[int]:
        wanted = hash(key)
        place = int(self._hashes.searchsorted(wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = int(self._order[place])
            if self._keys[row].as_py() == key:
                yield row
            place += 1

    def first_key(self) -> str:
        """The key of the first row."""
        key: str = self._keys[0].as_py()
        return key

    def count_keys(self, seen: Iterable[pa.Array]) -> tuple[int, int]:
        """How many distinct keys the table has, and how many of them are in none of the arrays of texts ``seen``.

        Told by their 64-bit hashes: that two of 20 million keys have the same one is a chance of 1 in 90,000.
        """
        is_first = np.ones(len(self._hashes), bool)
        is_first[1:] = self._hashes[1:] != self._hashes[:-1]
        unseen = is_first.copy()
        for keys in seen:
            hashes = np.unique(_hash(keys))
            places = self._hashes.searchsorted(hashes)
            places = places[places < len(self._hashes)]
            unseen[places[np.isin(self._hashes[places], hashes)]] = False
        return int(is_first.sum()), int(unseen.sum())


def _read_rows(file: TableFile, columns: Columns, bound: int) -> Iterator[_Rows]:
    """The rows of a file in order, some thousand at a time. Raises OvocrError that names file, row and key."""
    start = 0
    for key_cells, *label_cells in file.batches([columns.key, *columns.labels]):
        with _named(file, columns.key, start):
            keys = read_keys(key_cells)
        cells = []
        for name, column in zip(columns.labels, label_cells, strict=True):
            with _named(file, name, start, keys):
                cells.append(read_ids(column, bound))
        start += len(keys)
        yield keys, *_side_by_side(cells)


@contextmanager
def _named(file: TableFile, column: str, start: int, keys: pa.Array | None = None) -> Iterator[None]:
    """What is wrong in the block, with its place. start: rows of the file before this batch."""
    try:
        yield
    except WrongTypeError as error:
        raise OvocrError(f"{file.path}: column {column!r}: {error}") from error
    except WrongCellError as error:
        key = "" if keys is None else f" (key {keys[error.row].as_py()!r})"
        raise OvocrError(f"{file.path}: row {start + error.row}{key}: column {column!r}: {error}") from error


def _side_by_side(cells: list[tuple[_Counts, _Ids]]) -> tuple[_Counts, _Ids]:
    """The cells of several columns as one: of each row first the ids of the first column."""
    if len(cells) == 1:
        return cells[0]
    rows = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts, _ in cells])
    ids = np.concatenate([ids for _, ids in cells])
    return np.sum([counts for counts, _ in cells], axis=0), ids[np.argsort(rows, kind="stable")]


def _merge_repeats(keys: pa.Array, counts: _Counts, ids: _Ids) -> _Rows:
    """Rows of one key that follow one another as one row: a table with one id a row is then as small as any."""
    if not len(keys):
        return keys, counts, ids
    is_first = np.ones(len(keys), bool)
    is_first[1:] = pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    if is_first.all():
        return keys, counts, ids
    return keys.filter(pa.array(is_first)), np.add.reduceat(counts, np.flatnonzero(is_first)), ids


def _sha256(files: list[TableFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file.path, "rb") as stream:
            while piece := stream.read(2**22):
                digest.update(piece)
    return digest.hexdigest()


def _hash(keys: pa.Array) -> npt.NDArray[np.int64]:
    """Python's hashes of texts, int64 [len(keys)]: the same for equal texts in this process."""
    hashes = np.empty(len(keys), np.int64)
    for start in range(0, len(keys), _HASHED_ROWS):
        piece = keys[start : start + _HASHED_ROWS].to_pylist()
        hashes[start : start + len(piece)] = [hash(key) for key in piece]
    return hashes
