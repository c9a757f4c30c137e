"""Parquet files with a column of encoded images, such as data sets on the Hugging Face Hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError
from ovocr.dataset.manifest import SourceOptions
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.image_tables.columns import HEAD_ROWS, TableColumns, find_columns
from ovocr.labelgen.sources.image_tables.rows import RowReader, check_root
from ovocr.labelgen.sources.input_shard import InputShard, file_shard
from ovocr.labelgen.sources.items import Lost, SourceItem
from ovocr.labelgen.sources.source_path import SourcePath

BATCH_ROWS = 64
# A column of more bytes than this has images. Its first rows are not looked at, because they are read in large blocks.
_FEW_BYTES = 2**20


def plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the file as one shard. Raises UsageError if it has no column of images; damage is found when reading."""
    path = found.path
    try:
        with path.open() as content, _open(content, path.name) as file:
            columns = _columns(file, options, path.name)
            check_root(columns, lambda column: _head(file, column, path.name), options, path.name)
            images = None if columns.many else file.metadata.num_rows
    except pa.ArrowInvalid:
        images = None
    return [file_shard(path, "parquet", images, options)]


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the images of the rows in order. A row of a damaged row group is a Lost item, and so is a damaged file.

    Raises OvocrError if the file system fails.
    """
    try:
        with path.on_disk() as local, _open(local, path.name) as file:
            yield from _read_rows(file, shard.options, path.name)
    except pa.ArrowInvalid as error:
        yield Lost("", Reason.DAMAGED_SOURCE, f"{path.name}: no Parquet file can be read ({error})")


def _open(file: Path | IO[bytes], source: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except OSError as error:
        if error.errno is None:  # an error of Arrow, such as "Couldn't deserialize thrift"
            raise pa.ArrowInvalid(str(error)) from error
        raise OvocrError(f"{source}: cannot be read: {error.strerror}") from error


def _columns(file: pq.ParquetFile, options: SourceOptions, source: str) -> TableColumns:
    return find_columns(file.schema_arrow, lambda column: _head(file, column, source), options, source)


def _head(file: pq.ParquetFile, column: str, source: str) -> pa.Array | None:
    """Returns the first values of a column; None if they are damaged, or images, which may be large."""
    if not file.num_row_groups:
        return None
    group = file.metadata.row_group(0)
    chunks = [(number, group.column(number)) for number in range(group.num_columns)]
    size = sum(
        chunk.total_uncompressed_size
        for number, chunk in chunks
        if chunk.path_in_schema.partition(".")[0] == column and _is_binary(file, number)
    )
    if size > _FEW_BYTES:
        return None
    try:
        return next((batch[column] for batch in file.iter_batches(HEAD_ROWS, [0], [column])), None)
    except (pa.ArrowException, OSError) as error:
        _raise_system_error(error, source)
        return None


def _is_binary(file: pq.ParquetFile, number: int) -> bool:
    column = file.schema.column(number)
    return bool(column.physical_type == "BYTE_ARRAY" and column.logical_type.type == "NONE")


def _read_rows(file: pq.ParquetFile, options: SourceOptions, source: str) -> Iterator[SourceItem]:
    columns = _columns(file, options, source)
    rows = RowReader(columns, options.image_root)
    row = 0
    for group in range(file.num_row_groups):
        end = row + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(BATCH_ROWS, [group], columns.names):
                yield from rows.read(batch, row)
                row += len(batch)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            _raise_system_error(error, source)
            for lost in range(row, end):
                yield Lost(str(lost), Reason.DAMAGED_SOURCE, f"{source}: row {lost}, row group {group}: {error}")
        row = end


def _raise_system_error(error: Exception, source: str) -> None:
    """Raises OvocrError if the file system failed: that ends the run."""
    if isinstance(error, OSError) and error.errno is not None:
        raise OvocrError(f"{source}: cannot be read: {error.strerror}") from error
