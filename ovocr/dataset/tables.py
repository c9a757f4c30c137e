"""Reads and writes a data set's Parquet files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError
from ovocr.dataset.schemas import NULLABLE

ROW_GROUP_ROWS = 1000
_BATCH_ROWS = 256


class TableError(OvocrError):
    """A Parquet file of a data set cannot be read. reason: the cause, one line."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: cannot be read: {reason}; restore the file")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)


@contextmanager
def open_table(path: Path, schema: pa.Schema | None = None) -> Iterator[pq.ParquetFile]:
    """Opens a file that has at least the columns of ``schema``.

    Raises TableError if a column is missing or has a different type, or if the block fails to read the file.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise ValueError("it is a folder, a device or a pipe")
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow  # makes a new schema at each access
            for column in schema or ():
                if found.field(column.name).type != column.type:
                    raise ValueError(f"column {column.name} is not of type {column.type}")
            yield file
    except (OSError, pa.ArrowException, KeyError, ValueError, OverflowError) as error:
        reason = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        raise TableError(path, reason.splitlines()[0].rstrip(".") if reason else type(error).__name__) from error


def read_batches(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, rows: int = _BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yields the rows in order, a few at a time.

    columns: names of columns or nested fields; None for all columns of ``schema``. rows: largest number at a time.
    Raises TableError, including for an unexpected null.
    """
    with open_table(path, schema) as file:
        for batch in file.iter_batches(batch_size=rows, columns=list(columns or schema.names)):
            check_nulls(batch)
            yield batch


def read_columns(path: Path, schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """Returns the columns, each in one chunk. Raises TableError."""
    with open_table(path, pa.schema([schema.field(name) for name in names])) as file:
        return file.read(columns=list(names)).combine_chunks()


def read_rows(path: Path, schema: pa.Schema, positions: Sequence[int]) -> pa.Table:
    """Returns the rows at the ascending ``positions``, from 0; reads only their row groups.

    Raises TableError, including for a missing row or an unexpected null.
    """
    with open_table(path, schema) as file:
        ends = np.cumsum([file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)])
        if positions and (not len(ends) or positions[-1] >= ends[-1]):
            raise ValueError(f"there is no row {positions[-1]}")
        groups = np.searchsorted(ends, positions, side="right")
        tables = [schema.empty_table()]
        for number in np.unique(groups).tolist():
            start = int(ends[number - 1]) if number else 0
            own = [position - start for position, group in zip(positions, groups, strict=True) if group == number]
            tables.append(file.read_row_group(number, columns=schema.names).take(own).select(schema.names))
        rows = pa.concat_tables(tables).combine_chunks()
        check_nulls(rows)
        return rows


def find_null(rows: pa.RecordBatch | pa.Table) -> str:
    """Returns the name of the first column with an unexpected null, nested or not; empty if there is no such column."""
    names = (name for name in rows.schema.names if name not in NULLABLE and _has_null(rows.column(name)))
    return next(names, "")


def check_nulls(rows: pa.RecordBatch | pa.Table) -> None:
    """Raises ValueError for an unexpected null."""
    if name := find_null(rows):
        raise ValueError(f"column {name} contains a null")


def _has_null(column: pa.Array | pa.ChunkedArray) -> bool:
    if isinstance(column, pa.ChunkedArray):
        return any(map(_has_null, column.chunks))
    if column.null_count:
        return True
    if pa.types.is_struct(column.type):
        return any(_has_null(column.field(number)) for number in range(column.type.num_fields))
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return _has_null(column.flatten())
    return False


class RowWriter:
    """Writes rows (dictionaries) to a Parquet file in row groups of ROW_GROUP_ROWS; keeps one group in memory.

    The bytes of the file depend only on the rows.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._write_group()
        finally:
            self._writer.close()

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row with a value for each column; other values are ignored."""
        self._rows.append(row)
        if len(self._rows) == ROW_GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema), row_group_size=ROW_GROUP_ROWS)
            self._rows.clear()


class BatchWriter:
    """Writes batches of rows to a Parquet file in row groups of ROW_GROUP_ROWS; keeps one group in memory.

    The file is the one that RowWriter makes of the same rows.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting = schema.empty_table()

    def __enter__(self) -> "BatchWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self._waiting.num_rows:
                self._write(self._waiting)
        finally:
            self._writer.close()

    def append(self, rows: pa.RecordBatch) -> None:
        """Adds rows with all columns of the schema."""
        table = pa.Table.from_batches([rows]).select(self._schema.names).cast(self._schema)
        self._waiting = pa.concat_tables([self._waiting, table])
        while self._waiting.num_rows >= ROW_GROUP_ROWS:
            self._write(self._waiting.slice(0, ROW_GROUP_ROWS))
            self._waiting = self._waiting.slice(ROW_GROUP_ROWS)

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.combine_chunks(), row_group_size=ROW_GROUP_ROWS)
