"""The lines of a batch of rows as columns, from a table with a row per line or a row per image."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.labelgen.tables.cell_errors import WrongCellError, WrongTypeError, cell_errors, show
from ovocr.labelgen.tables.cells import Column, JsonColumn, as_numpy, is_list, is_text, json_column, plain
from ovocr.labelgen.tables.columns import show_names
from ovocr.labelgen.tables.line_columns import FIELDS, LINES, TEXT


@dataclass(frozen=True)
class BatchPlace:
    """Where a batch of rows is, for messages. start: index of its first row in the file. keys: keys of its rows."""

    path: str
    start: int
    keys: pa.Array


@dataclass(frozen=True)
class LineCells:
    """The lines of a batch of rows, not yet checked.

    counts: number of lines of each row, int64 [rows]. columns: maps FIELDS to columns [sum of counts].
    nested: True if the lines of a row are in one cell.
    object_fields: names of the fields of lines that are JSON objects, up to the first that has TEXT.
    """

    place: BatchPlace
    counts: npt.NDArray[np.int64]
    columns: dict[str, Column]
    nested: bool
    object_fields: tuple[str, ...] = ()

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The row of each line, int64 [sum of counts]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @contextmanager
    def errors(self, field: str) -> Iterator[None]:
        """Adds file, row, key and line to errors of a field inside the block."""
        column = LINES if self.nested else field
        with cell_errors(self.place.path, column, self.place.start, self.place.keys):
            try:
                yield
            except WrongTypeError as error:
                raise WrongTypeError(f"{field}: {error}" if self.nested else str(error)) from error
            except WrongCellError as error:
                row = int(self.rows[error.row])
                number = error.row - int(self.counts[:row].sum())
                raise WrongCellError(row, f"line {number}: {field}: {error}" if self.nested else str(error)) from error


def lines_of_rows(place: BatchPlace, columns: dict[str, Column]) -> LineCells:
    """Returns the lines of a table with a row per line."""
    return LineCells(place, np.ones(len(place.keys), np.int64), columns, nested=False)


def lines_of_cells(place: BatchPlace, column: Column) -> LineCells:
    """Returns the lines of a table with a row per image.

    A cell is a list of objects or of texts, one text, or null. Raises OvocrError if it is something else.
    """
    with cell_errors(place.path, LINES, place.start, place.keys):
        if isinstance(column, JsonColumn):
            return _from_json(place, column.cells)
        column = plain(column)
        if pa.types.is_integer(column.type):  # to name the first cell
            return _from_json(place, column.to_pylist())
        return _from_arrow(place, column)


def no_text(fields: Sequence[str]) -> str:
    """Returns the message for lines that are objects without TEXT. fields: the names of their fields."""
    return f"its lines have no field {TEXT!r}; their fields: {show_names(fields)}"


def _from_arrow(place: BatchPlace, column: pa.Array) -> LineCells:
    if is_text(column.type) or pa.types.is_null(column.type):
        counts = as_numpy(column.is_valid()).astype(np.int64)
        return LineCells(place, counts, {TEXT: column.drop_null()}, nested=True)
    if not is_list(column.type):
        raise WrongTypeError(f"values are of type {column.type}; must be lists of lines")
    counts = as_numpy(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    lines = plain(pc.list_flatten(column))
    if not pa.types.is_struct(lines.type):
        return LineCells(place, counts, {TEXT: lines}, nested=True)
    names = [lines.type.field(number).name for number in range(lines.type.num_fields)]
    if TEXT not in names:
        raise WrongTypeError(no_text(names))
    # struct_field, unlike field, takes a line that is null as a line whose fields are null.
    return LineCells(
        place, counts, {name: pc.struct_field(lines, name) for name in FIELDS if name in names}, nested=True
    )


@dataclass
class _Fields:
    """The fields of lines, as JSON values. names: as object_fields of LineCells."""

    values: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in FIELDS})
    names: dict[str, None] = field(default_factory=dict)

    def add(self, line: dict[str, Any] | str | None) -> None:
        if not isinstance(line, dict):
            line = {TEXT: line}
        elif TEXT not in self.names:
            self.names.update(dict.fromkeys(line))
        for name, values in self.values.items():
            values.append(line.get(name))


def _from_json(place: BatchPlace, cells: Sequence[Any]) -> LineCells:
    counts = np.zeros(len(cells), np.int64)
    fields = _Fields()
    for row, cell in enumerate(cells):
        if not (cell is None or isinstance(cell, str | list)):
            raise WrongCellError(row, f"{show(cell)} is not a list of lines")
        lines = [cell] if isinstance(cell, str) else cell or []
        for number, line in enumerate(lines):
            if not (line is None or isinstance(line, str | dict)):
                raise WrongCellError(row, f"line {number}: {show(line)} is not an object with {TEXT!r} or a text")
            fields.add(line)
        counts[row] = len(lines)
    columns = {name: json_column(fields.values[name]) for name in FIELDS}
    return LineCells(place, counts, columns, nested=True, object_fields=tuple(fields.names))
