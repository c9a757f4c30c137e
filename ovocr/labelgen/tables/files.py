"""The files of a table: Parquet, CSV, TSV, JSON and JSON lines, read in batches of rows."""

import csv
import glob
import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.object_store import is_url
from ovocr.labelgen.tables.cells import Column, json_column
from ovocr.labelgen.tables.json_rows import JSON, JSON_LINES, json_rows, open_text

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
# A row of JSON may omit a column, so the columns are the names in this many rows.
_JSON_ROWS_SEEN = 65_536
_CSV_BLOCK_BYTES = 16 * 2**20  # a row must fit in it


@dataclass(frozen=True)
class TableOption:
    """An option that names a table.

    name: such as "--labels". kinds: suffixes of the files that it accepts.
    value_column: column of the values in a JSON file that is one object. row_columns: if that object has the key's
    column and one of these, it is a single row, which is refused.
    """

    name: str
    kinds: tuple[str, ...]
    value_column: str = ""
    row_columns: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What the option accepts, for messages."""
        kinds = f"{', '.join(self.kinds[:-1])} or {self.kinds[-1]}"
        return f"{kinds} (.gz is allowed for all except .parquet), a folder or a glob of such files"

    def kind(self, path: str) -> str | None:
        """Returns the suffix of a file without .gz; None if the option does not accept it."""
        path, compressed = (path[:-3], True) if path.endswith(".gz") else (path, False)
        kind = Path(path).suffix
        return kind if kind in self.kinds and not (compressed and kind == ".parquet") else None

    def json_rows(self, path: str, kind: str) -> Iterator[dict[str, Any]]:
        """Yields the rows of a JSON file. Raises OvocrError, naming the line or the row."""
        return json_rows(path, kind, self.value_column, self.row_columns)


@dataclass(frozen=True)
class TableFile:
    """One file of a table. kind: its suffix, without .gz. columns: names, in the order of the file."""

    option: TableOption
    path: str
    kind: str
    columns: tuple[str, ...]

    @property
    def named(self) -> str:
        """The option with the path, for messages."""
        return f"{self.option.name} {self.path}"

    @property
    def is_json(self) -> bool:
        """True if rows may have columns that are not in ``columns``."""
        return self.kind in (JSON, *JSON_LINES)

    def batches(self, columns: list[str], rows: int) -> Iterator[list[Column]]:
        """Yields the named columns in batches of ``rows`` rows. Raises OvocrError if the file is damaged."""
        with _table_errors(self.path):
            if self.is_json:
                yield from self._json_batches(columns, rows)
                return
            for batch in _arrow_batches(self.path, self.kind, columns, rows):
                yield [batch.column(name) for name in columns]

    def _json_batches(self, columns: list[str], rows: int) -> Iterator[list[Column]]:
        objects = self.option.json_rows(self.path, self.kind)
        while batch := list(itertools.islice(objects, rows)):
            yield [json_column([row.get(name) for row in batch]) for name in columns]


def find_files(option: TableOption, table: str) -> list[str]:
    """Returns the paths of the table's files, sorted. Raises UsageError if there are none."""
    if is_url(table):
        raise UsageError(f"{option.name} {table}: must be on a disk; copy it there first")
    if os.path.isdir(table):
        paths = sorted(str(path) for path in Path(table).iterdir() if _is_table(option, path))
    elif os.path.lexists(table) or not glob.has_magic(table):
        paths = [table]
    else:
        paths = sorted(glob.glob(table, recursive=True))
    if not paths:
        raise UsageError(f"{option.name} {table}: no table found; allowed: {option.allowed}")
    return paths


def _is_table(option: TableOption, path: Path) -> bool:
    """Returns True for a file that a folder contributes to a table. Hidden files are those of programs."""
    return not path.name.startswith(".") and option.kind(path.name) is not None and path.is_file()


def open_file(option: TableOption, path: str) -> TableFile:
    """Reads the names of a file's columns. Raises UsageError for an unknown kind, OvocrError if it cannot be read."""
    kind = option.kind(path)
    if not os.path.isfile(path):
        what = "not a file" if os.path.lexists(path) else "no such file or folder"
        raise UsageError(f"{option.name} {path}: {what}")
    if kind is None:
        raise UsageError(f"{option.name} {path}: unknown kind of table; allowed: {option.allowed}")
    if not os.path.getsize(path):
        raise no_row(path)
    with _table_errors(path):
        if kind == ".parquet":
            names = list(pq.read_schema(path).names)
        elif kind in _DELIMITERS:
            _check_quotes(path, kind)
            with _open_csv(path, kind, arrow_csv.ConvertOptions()) as reader:
                names = list(reader.schema.names)
        else:
            rows = itertools.islice(option.json_rows(path, kind), _JSON_ROWS_SEEN)
            names = _json_names(path, rows)
    return TableFile(option, path, kind, tuple(names))


def no_row(name: str) -> OvocrError:
    """Returns the error for a table or one of its files without rows."""
    return OvocrError(f"{name}: this table has no row")


def _json_names(path: str, rows: Iterator[dict[str, Any]]) -> list[str]:
    """Returns the names in rows. Raises OvocrError if there is no row."""
    first = next(rows, None)
    if first is None:
        raise no_row(path)
    return list(dict.fromkeys(name for row in itertools.chain([first], rows) for name in row))


def hash_files(files: list[TableFile]) -> str:
    """Returns the SHA-256 of the files' concatenated bytes as a hex digest."""
    digest = hashlib.sha256()
    for file in files:
        with open(file.path, "rb") as stream:
            while part := stream.read(2**22):
                digest.update(part)
    return digest.hexdigest()


@contextmanager
def _table_errors(path: str) -> Iterator[None]:
    """Converts read errors inside the block to an OvocrError of one line."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise OvocrError(f"{path}: not UTF-8; save the table as UTF-8") from error
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.errno is not None else str(error)
        raise OvocrError(f"{path}: this table cannot be read: {' '.join(str(reason).split())[:300]}") from error


def _arrow_batches(path: str, kind: str, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    if kind == ".parquet":
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(rows, columns=columns)
        return
    # As text: a key such as 0017 is not a number, and Arrow cannot guess the type of cells with several ids.
    options = arrow_csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string()))
    with _open_csv(path, kind, options) as reader:
        yield from reader


def _check_quotes(path: str, kind: str) -> None:
    """Raises OvocrError if there is no header, and for a field that only begins with a quotation mark.

    Arrow would make the following rows a part of such a field. Raises UnicodeDecodeError if the file is not UTF-8.
    """
    row = -1  # the header
    limit = csv.field_size_limit(_CSV_BLOCK_BYTES)
    try:
        with open_text(path, newline="") as lines:  # the csv module recognizes line breaks
            for fields in csv.reader(lines, delimiter=_DELIMITERS[kind], strict=True):
                row += bool(fields)
        if row < 0:
            raise no_row(path)
    except csv.Error as error:
        place = "the header" if row < 0 else f"row {row}"
        raise OvocrError(
            f"{path}: {place}: a field begins with a quotation mark that is not closed at its end; "
            "enclose such a field in quotation marks and double those inside"
        ) from error
    finally:
        csv.field_size_limit(limit)


def _open_csv(path: str, kind: str, options: arrow_csv.ConvertOptions) -> arrow_csv.CSVStreamingReader:
    return arrow_csv.open_csv(
        pa.input_stream(path, compression="detect"),
        read_options=arrow_csv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(delimiter=_DELIMITERS[kind], newlines_in_values=True),
        convert_options=options,
    )
