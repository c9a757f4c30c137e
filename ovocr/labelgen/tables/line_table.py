"""A table of lines in memory, and lookup by key."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError
from ovocr.labelgen.tables.cell_errors import WrongCellError, cell_errors, show
from ovocr.labelgen.tables.cells import as_numpy, read_keys
from ovocr.labelgen.tables.files import TableFile, TableOption, find_files, hash_files, no_row, open_file
from ovocr.labelgen.tables.key_index import KeyIndex, merge_repeats
from ovocr.labelgen.tables.line_batch import GivenLine, LineBatch, read_lines
from ovocr.labelgen.tables.line_cells import BatchPlace, LineCells, lines_of_cells, lines_of_rows, no_text
from ovocr.labelgen.tables.line_columns import LINES, TEXT, LineColumns, choose_line_columns

OPTION = TableOption(
    "--lines",
    (".parquet", ".json", ".jsonl", ".ndjson", ".csv", ".tsv"),
    value_column=LINES,
    row_columns=(LINES, TEXT),
)
# Lines that are Python objects at a time while a JSON table is read: a row may have hundreds.
_BATCH_ROWS = 4_096


@dataclass(frozen=True)
class _Rows:
    """A batch of rows.

    keys: large_string [rows]. counts: number of lines of each row, int64 [rows]. without_text: number of lines that
    were left out. object_fields: as in LineCells.
    """

    keys: pa.Array
    counts: npt.NDArray[np.int64]
    lines: LineBatch
    without_text: int
    object_fields: tuple[str, ...]


class LineTable:
    """The lines of images by key, in Arrow and numpy arrays.

    Memory: the keys and 28 bytes per row, where adjacent rows of one key in a table with a row per line count as one;
    the texts in UTF-8 and 8 bytes per line; 32 bytes per line for boxes, 4 for scores other than 1, and 8 and 4 per
    character for edges.

    name: the user's name for it. columns: the columns that were read. sha256: hex digest of its files, concatenated.
    keys: the index of its keys. without_text: number of lines that were left out because they have no text.
    without_box: number of lines without a box. has_scores: True if a line has a score below 1.
    row_name: what an image needs, for messages.
    """

    option = OPTION
    row_name = "row"

    def __init__(self, name: str, columns: LineColumns, sha256: str, rows: list[_Rows]) -> None:
        self.name = name
        self.columns = columns
        self.sha256 = sha256
        self.keys = KeyIndex([batch.keys for batch in rows])
        self.without_text = sum(batch.without_text for batch in rows)
        self.without_box = sum(batch.lines.without_box for batch in rows)
        self.has_scores = any(batch.lines.scores is not None for batch in rows)
        self._ends = np.cumsum(np.concatenate([batch.counts for batch in rows]))
        self._batches = [batch.lines for batch in rows]
        self._batch_ends = np.cumsum([len(batch.lines) for batch in rows])
        self._one_row_per_key = columns.text == LINES

    @classmethod
    def load(cls, name: str, *, key_column: str | None) -> "LineTable":
        """Reads a table of one or several files (docs/given_text.md has the rules).

        key_column: None for the default name.

        Raises UsageError if it is not such a table, and OvocrError, naming file, row and key, if a cell is wrong.
        """
        files = [open_file(OPTION, path) for path in find_files(OPTION, name)]
        columns = choose_line_columns(files[0], key_column)
        for file in files[1:]:
            columns.check_same(file, choose_line_columns(file, key_column))
        rows = [rows for file in files for rows in _read_rows(file, columns)]
        pa.default_memory_pool().release_unused()  # Arrow would keep the memory for reuse
        if not rows:
            raise no_row(name)
        _check_fields(name, rows)
        _check_pixels(name, [batch.lines for batch in rows])
        table = cls(name, columns, hash_files(files), rows)
        table._check_repeats()
        return table

    def describe(self) -> dict[str, Any]:
        """Returns everything about the table that results depend on, for the manifest."""
        return {"sha256": self.sha256, "key_column": self.columns.key, "text_column": self.columns.text}

    def has_row(self, key: str) -> bool:
        """Returns True if the table has a row with this key."""
        return any(True for _ in self.keys.rows(key))

    def lines(self, key: str) -> list[GivenLine] | None:
        """Returns the lines of a key in the table's order; None if it has no row."""
        rows = list(self.keys.rows(key))
        if self._one_row_per_key:
            rows = rows[:1]
        return [line for row in rows for line in self._lines_of_row(row)] if rows else None

    def _lines_of_row(self, row: int) -> list[GivenLine]:
        start, stop = int(self._ends[row - 1]) if row else 0, int(self._ends[row])
        if start == stop:
            return []
        batch = int(self._batch_ends.searchsorted(start, side="right"))
        before = int(self._batch_ends[batch - 1]) if batch else 0
        return self._batches[batch].lines(start - before, stop - before)

    def _check_repeats(self) -> None:
        """Raises OvocrError if a table with a row per image has two rows with different lines for one image."""
        if not self._one_row_per_key:
            return
        for key, (first, *others) in self.keys.repeated():
            lines = self._lines_of_row(first)
            if any(self._lines_of_row(row) != lines for row in others):
                raise OvocrError(
                    f"{self.name}: key {key!r} has several rows with different lines; with a column {LINES!r}, "
                    "all lines of an image are in one row"
                )


def _read_rows(file: TableFile, columns: LineColumns) -> Iterator[_Rows]:
    """Yields the rows of a file in batches. Raises OvocrError, naming file, row and key, for a wrong cell."""
    nested = columns.text == LINES
    fields = [LINES] if nested else columns.fields(file)
    start = 0
    for key_cells, *line_cells in file.batches([columns.key, *fields], _BATCH_ROWS):
        with cell_errors(file.path, columns.key, start):
            keys = read_keys(key_cells)
        place = BatchPlace(file.path, start, keys)
        start += len(keys)
        cells: LineCells
        if nested:
            cells = lines_of_cells(place, line_cells[0])
        else:
            cells = lines_of_rows(place, dict(zip(fields, line_cells, strict=True)))
            if file.kind == ".tsv":
                with cells.errors(TEXT):
                    _check_quotes(line_cells[0])
        lines, counts, without_text = read_lines(cells)
        if not nested:
            keys, counts = merge_repeats(keys, counts)
        yield _Rows(keys, counts, lines, without_text, cells.object_fields)


def _check_quotes(texts: pa.Array) -> None:
    """Raises WrongCellError if a text has swallowed rows: many programs write a .tsv without quoting."""
    swallowed = np.flatnonzero(as_numpy(pc.match_substring_regex(texts, r"\n[^\n]*\t")))
    if len(swallowed):
        raise WrongCellError(
            int(swallowed[0]), f"{show(texts[swallowed[0]].as_py())} begins with a quotation mark that is not closed"
        )


def _check_fields(name: str, rows: list[_Rows]) -> None:
    """Raises OvocrError if lines are JSON objects, and none of them has TEXT."""
    fields = list(dict.fromkeys(field for batch in rows for field in batch.object_fields))
    if fields and TEXT not in fields:
        raise OvocrError(f"{name}: column {LINES!r}: {no_text(fields)}")


def _check_pixels(name: str, batches: list[LineBatch]) -> None:
    """Raises OvocrError if the boxes are fractions of the image."""
    lowest, highest = zip(*(batch.extent for batch in batches), strict=True)
    if min(lowest) >= 0 and -np.inf < max(highest) <= 1:
        raise OvocrError(f"{name}: no coordinate of a box is above 1; boxes are in pixels, not fractions of the image")
