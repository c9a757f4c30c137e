"""A table of class ids in memory, and lookup by key."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.labelgen.tables.cell_errors import cell_errors
from ovocr.labelgen.tables.cells import read_keys
from ovocr.labelgen.tables.class_ids import read_ids
from ovocr.labelgen.tables.files import TableFile, TableOption, find_files, hash_files, open_file
from ovocr.labelgen.tables.key_index import KeyIndex, merge_repeats
from ovocr.labelgen.tables.label_columns import LabelColumns, choose_label_columns

OPTION = TableOption("--labels", (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"))
_BATCH_ROWS = 65_536

_Ids = npt.NDArray[np.int32]
_Counts = npt.NDArray[np.int64]
_Rows = tuple[pa.Array, _Counts, _Ids]  # keys [R], numbers of ids [R], ids of all rows [sum of numbers]


class LabelTable:
    """Class ids by key, in Arrow and numpy arrays. Memory: the keys, 28 bytes per row, and 4 bytes per id.

    name: the user's name for it. columns: the columns that were read. sha256: hex digest of its files, concatenated.
    num_classes: number of classes; ids are smaller. keys: the index of its keys.
    row_name: what an image needs, for messages.
    """

    option = OPTION
    row_name = "row with class ids"

    def __init__(self, name: str, columns: LabelColumns, sha256: str, num_classes: int, rows: list[_Rows]) -> None:
        self.name = name
        self.columns = columns
        self.sha256 = sha256
        self.num_classes = num_classes
        self.keys = KeyIndex([keys for keys, _, _ in rows])
        self._ends = np.cumsum(np.concatenate([counts for _, counts, _ in rows]))
        self._ids = np.concatenate([ids for _, _, ids in rows])

    @classmethod
    def load(
        cls, name: str, *, key_column: str | None, label_columns: Sequence[str], num_classes: int | None, limit: int
    ) -> "LabelTable":
        """Reads a table of one or several files (docs/packing.md has the rules).

        key_column: None for the default name. label_columns: empty for the default names.
        num_classes: ids must be smaller; None for the largest id + 1, at most ``limit``.

        Raises UsageError if it is not such a table, and OvocrError, naming file, row and key, if a cell is wrong.
        """
        files = [open_file(OPTION, path) for path in find_files(OPTION, name)]
        columns = choose_label_columns(files[0], key_column, label_columns)
        for file in files[1:]:
            choose_label_columns(file, columns.key, columns.labels)
        bound = num_classes or limit
        rows = [rows for file in files for rows in _read_rows(file, columns, bound)]
        pa.default_memory_pool().release_unused()  # Arrow would keep the memory for reuse
        largest = max((int(ids.max()) for _, _, ids in rows if len(ids)), default=-1)
        if largest < 0:
            raise OvocrError(f"{name}: this table has no class id")
        return cls(name, columns, hash_files(files), num_classes or largest + 1, rows)

    def has_row(self, key: str) -> bool:
        """Returns True if the table has class ids for this key."""
        return bool(self.ids(key))

    def ids(self, key: str) -> list[int]:
        """Returns the distinct class ids of a key in the table's order; an empty list if it has no row or no ids."""
        ids: dict[int, None] = {}
        for row in self.keys.rows(key):
            start = int(self._ends[row - 1]) if row else 0
            ids.update(dict.fromkeys(self._ids[start : int(self._ends[row])].tolist()))
        return list(ids)


def _read_rows(file: TableFile, columns: LabelColumns, bound: int) -> Iterator[_Rows]:
    """Yields the rows of a file in batches. Raises OvocrError, naming file, row and key, for a wrong cell."""
    start = 0
    for key_cells, *label_cells in file.batches([columns.key, *columns.labels], _BATCH_ROWS):
        with cell_errors(file.path, columns.key, start):
            keys = read_keys(key_cells)
        cells = []
        for name, column in zip(columns.labels, label_cells, strict=True):
            with cell_errors(file.path, name, start, keys):
                cells.append(read_ids(column, bound))
        start += len(keys)
        counts, ids = _join_columns(cells)
        yield *merge_repeats(keys, counts), ids


def _join_columns(cells: list[tuple[_Counts, _Ids]]) -> tuple[_Counts, _Ids]:
    """Joins the cells of several columns. In each row, the ids of the first column come first."""
    if len(cells) == 1:
        return cells[0]
    rows = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts, _ in cells])
    ids = np.concatenate([ids for _, ids in cells])
    return np.sum([counts for counts, _ in cells], axis=0), ids[np.argsort(rows, kind="stable")]
