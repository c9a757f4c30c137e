"""Parquet files with a column of encoded images, such as data sets on the Hugging Face Hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.input_shard import InputShard, file_shard
from ovocr.labelgen.sources.items import MAX_FILE_BYTES, Found, Lost, SourceItem, too_large
from ovocr.labelgen.sources.source_path import SourcePath

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "image_bytes", "bytes", "content", "data")
KEY_COLUMNS = ("key", "__key__", "url")
BATCH_ROWS = 64


def plan(path: SourcePath, shard_size: int) -> list[InputShard]:
    """Returns the file as one shard. Raises UsageError if it has no column of images; damage is found when reading."""
    try:
        with path.open() as content, _open(content, path.name) as file:
            find_image_column(file.schema_arrow, path.name)
            images = file.metadata.num_rows
    except pa.ArrowInvalid:
        images = None
    return [file_shard(path, "parquet", images)]


def find_image_column(schema: pa.Schema, source: str) -> str:
    """Returns the name of the column with encoded images: binary, or a struct with a binary field ``bytes``.

    Prefers the names in IMAGE_COLUMNS, then takes the only such column. Raises UsageError unless there is exactly one.
    """
    columns = [field.name for field in schema if _contains_images(field.type)]
    for name in IMAGE_COLUMNS:
        if name in columns:
            return name
    if len(columns) == 1:
        return str(columns[0])
    found = f"several: {', '.join(columns)}" if columns else f"none among {', '.join(schema.names)}"
    raise UsageError(
        f"{source}: expected one column of encoded images (binary, or struct<bytes, path>), found {found}; "
        f"name it {IMAGE_COLUMNS[0]}"
    )


def find_key_column(schema: pa.Schema) -> str | None:
    """Returns the name of the text column with the images' keys; None if the keys are the row numbers."""
    for name in KEY_COLUMNS:
        if name in schema.names and _is_text(schema.field(name).type):
            return name
    return None


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the rows in order. Each row of a damaged row group is one Lost item, and so is a file without a footer.

    The ``path`` of a struct is never opened. Raises OvocrError if the file system fails.
    """
    try:
        with path.on_disk() as local, _open(local, path.name) as file:
            yield from _read_rows(file, path.name)
    except pa.ArrowInvalid as error:
        yield Lost("", Reason.DAMAGED_SOURCE, f"{path.name}: no Parquet file can be read ({error})")


def _open(file: Path | IO[bytes], source: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except OSError as error:
        if error.errno is None:  # an error of Arrow, such as "Couldn't deserialize thrift"
            raise pa.ArrowInvalid(str(error)) from error
        raise OvocrError(f"{source}: cannot be read: {error.strerror}") from error


def _read_rows(file: pq.ParquetFile, source: str) -> Iterator[SourceItem]:
    image_column = find_image_column(file.schema_arrow, source)
    key_column = find_key_column(file.schema_arrow)
    columns = [image_column, *([key_column] if key_column else [])]
    row = 0
    for group in range(file.num_row_groups):
        end = row + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(BATCH_ROWS, [group], columns):
                keys = batch[key_column].to_pylist() if key_column else [None] * len(batch)
                for key, cell in zip(keys, batch[image_column], strict=True):
                    yield _read_cell(str(row) if key is None else key, cell)
                    row += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise OvocrError(f"{source}: cannot be read: {error.strerror}") from error
            for lost in range(row, end):
                yield Lost(str(lost), Reason.DAMAGED_SOURCE, f"{source}: row {lost}, row group {group}: {error}")
        row = end


def _read_cell(key: str, cell: Any) -> SourceItem:
    """Returns the image in a cell. A null, or a struct without bytes, is an image of zero bytes."""
    value = cell["bytes"] if cell.is_valid and pa.types.is_struct(cell.type) else cell
    if value.is_valid and len(value.as_buffer()) > MAX_FILE_BYTES:
        return too_large(key, len(value.as_buffer()))
    return Found(key, value.as_buffer().to_pybytes() if value.is_valid else b"")


def _contains_images(type: pa.DataType) -> bool:
    if pa.types.is_struct(type):
        return any(field.name == "bytes" and _is_binary(field.type) for field in type)
    return _is_binary(type)


def _is_binary(type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))
