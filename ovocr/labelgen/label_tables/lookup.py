"""A table in memory, and lookup of class ids by key."""

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

_HASHED_ROWS = 100_000  # rows that are Python strings at a time

_Ids = npt.NDArray[np.int32]
_Counts = npt.NDArray[np.int64]
_Rows = tuple[pa.Array, _Counts, _Ids]  # keys [R], numbers of ids [R], ids of all rows [sum of numbers]


class LabelTable:
    """Class ids by key, in Arrow and numpy arrays. Memory: the keys, 28 bytes per row, and 4 bytes per id.

    name: the user's name for it. columns: the columns that were read. sha256: hex digest of its files, concatenated.
    num_classes: number of classes; ids are smaller.
    """

    def __init__(self, name: str, columns: Columns, sha256: str, num_classes: int, rows: list[_Rows]) -> None:
        self.name = name
        self.columns = columns
        self.sha256 = sha256
        self.num_classes = num_classes
        # In chunks: concatenating all keys would need a second copy.
        self._keys = pa.chunked_array([keys for keys, _, _ in rows], pa.large_string())
        self._ends = np.cumsum(np.concatenate([counts for _, counts, _ in rows]))
        self._ids = np.concatenate([ids for _, _, ids in rows])
        hashes = np.concatenate([_hash(keys) for keys, _, _ in rows])
        # A stable sort keeps the rows of one key in the table's order.
        self._order = np.argsort(hashes, kind="stable").astype(np.uint32 if len(hashes) < 2**32 else np.uint64)
        self._hashes = hashes[self._order]

    @classmethod
    def load(
        cls, name: str, *, key_column: str | None, label_columns: Sequence[str], num_classes: int | None, limit: int
    ) -> "LabelTable":
        """Reads a table of one or several files (docs/packing.md has the rules).

        key_column: None for the default name. label_columns: empty for the default names.
        num_classes: ids must be smaller; None for the largest id + 1, at most ``limit``.

        Raises UsageError if it is not such a table, and OvocrError, naming file, row and key, if a cell is wrong.
        """
        files = [open_file(path) for path in find_files(name)]
        columns = choose_columns(files[0], key_column, label_columns)
        for file in files[1:]:
            choose_columns(file, columns.key, columns.labels)
        bound = num_classes or limit
        rows = [_merge_repeats(*rows) for file in files for rows in _read_rows(file, columns, bound)]
        pa.default_memory_pool().release_unused()  # Arrow would keep the memory for reuse
        largest = max((int(ids.max()) for _, _, ids in rows if len(ids)), default=-1)
        if largest < 0:
            raise OvocrError(f"{name}: this table has no class id")
        return cls(name, columns, _sha256(files), num_classes or largest + 1, rows)

    def ids(self, key: str) -> list[int]:
        """Returns the distinct class ids of a key in the table's order; an empty list if it has no row or no ids."""
        ids: dict[int, None] = {}
        for row in self._rows_of(key):
            start = int(self._ends[row - 1]) if row else 0
            ids.update(dict.fromkeys(self._ids[start : int(self._ends[row])].tolist()))
        return list(ids)

    def _rows_of(self, key: str) -> Iterator[int]:
        wanted = hash(key)
        position = int(self._hashes.searchsorted(wanted))
        while position < len(self._hashes) and self._hashes[position] == wanted:
            row = int(self._order[position])
            if self._keys[row].as_py() == key:
                yield row
            position += 1

    def first_key(self) -> str:
        """Returns the key of the first row."""
        key: str = self._keys[0].as_py()
        return key

    def count_keys(self, seen: Iterable[pa.Array]) -> tuple[int, int]:
        """Returns the number of distinct keys, and the number of keys that are in none of the arrays ``seen``.

        Compares 64-bit hashes: two of 20 million keys collide with a probability of 1 in 90,000.
        """
        is_first = np.ones(len(self._hashes), bool)
        is_first[1:] = self._hashes[1:] != self._hashes[:-1]
        unseen = is_first.copy()
        for keys in seen:
            hashes = np.unique(_hash(keys))
            positions = self._hashes.searchsorted(hashes)
            positions = positions[positions < len(self._hashes)]
            unseen[positions[np.isin(self._hashes[positions], hashes)]] = False
        return int(is_first.sum()), int(unseen.sum())


def _read_rows(file: TableFile, columns: Columns, bound: int) -> Iterator[_Rows]:
    """Yields the rows of a file in batches. Raises OvocrError, naming file, row and key, for a wrong cell."""
    start = 0
    for key_cells, *label_cells in file.batches([columns.key, *columns.labels]):
        with _cell_errors(file, columns.key, start):
            keys = read_keys(key_cells)
        cells = []
        for name, column in zip(columns.labels, label_cells, strict=True):
            with _cell_errors(file, name, start, keys):
                cells.append(read_ids(column, bound))
        start += len(keys)
        yield keys, *_join_columns(cells)


@contextmanager
def _cell_errors(file: TableFile, column: str, start: int, keys: pa.Array | None = None) -> Iterator[None]:
    """Adds file, row and key to errors inside the block. start: index of the batch's first row in the file."""
    try:
        yield
    except WrongTypeError as error:
        raise OvocrError(f"{file.path}: column {column!r}: {error}") from error
    except WrongCellError as error:
        key = "" if keys is None else f" (key {keys[error.row].as_py()!r})"
        raise OvocrError(f"{file.path}: row {start + error.row}{key}: column {column!r}: {error}") from error


def _join_columns(cells: list[tuple[_Counts, _Ids]]) -> tuple[_Counts, _Ids]:
    """Joins the cells of several columns. In each row, the ids of the first column come first."""
    if len(cells) == 1:
        return cells[0]
    rows = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts, _ in cells])
    ids = np.concatenate([ids for _, ids in cells])
    return np.sum([counts for counts, _ in cells], axis=0), ids[np.argsort(rows, kind="stable")]


def _merge_repeats(keys: pa.Array, counts: _Counts, ids: _Ids) -> _Rows:
    """Merges consecutive rows of one key, to save memory for tables with one id per row."""
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
            while part := stream.read(2**22):
                digest.update(part)
    return digest.hexdigest()


def _hash(keys: pa.Array) -> npt.NDArray[np.int64]:
    """Returns Python's hashes of texts, int64 [len(keys)]. They are valid in this process only."""
    hashes = np.empty(len(keys), np.int64)
    for start in range(0, len(keys), _HASHED_ROWS):
        part = keys[start : start + _HASHED_ROWS].to_pylist()
        hashes[start : start + len(part)] = [hash(key) for key in part]
    return hashes
