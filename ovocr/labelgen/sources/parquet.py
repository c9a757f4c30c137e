"""Images in a Parquet file: a column of encoded images, such as data sets on the Hugging Face Hub have."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.files import file_state, on_disk, opened
from ovocr.labelgen.sources.plan import MAX_FILE_BYTES, Found, InputShard, Lost, SourceItem, too_large

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "image_bytes", "bytes", "content", "data")
KEY_COLUMNS = ("key", "__key__", "url")
BATCH_ROWS = 64


def plan_parquet(source: str) -> InputShard:
    """The file as one shard. Raises UsageError where it has no column of images; damage is met when it is read."""
    try:
        with opened(source) as content, _open(content, source) as file:
            find_image_column(file.schema_arrow, source)
            images = file.metadata.num_rows
    except pa.ArrowInvalid:
        images = None
    return InputShard(source=source, kind="parquet", images=images, size=file_state(source).size)


def find_image_column(schema: pa.Schema, source: str) -> str:
    """Name of the column with encoded images: binary, or a struct with a binary field ``bytes``.

    A usual name first, else the only such column. Raises UsageError where there is none or several.
    """
    columns = [field.name for field in schema if _holds_images(field.type)]
    for name in IMAGE_COLUMNS:
        if name in columns:
            return name
    if len(columns) == 1:
        return str(columns[0])
    found = f"several: {', '.join(columns)}" if columns else f"none among {', '.join(schema.names)}"
    raise UsageError(
        f"{source}: one column of encoded images is needed (binary, or struct<bytes, path>), there is {found}; "
        f"name it {IMAGE_COLUMNS[0]}"
    )


def find_key_column(schema: pa.Schema) -> str | None:
    """Name of the text column with the images' keys, None where they are known by their row number."""
    for name in KEY_COLUMNS:
        if name in schema.names and _is_text(schema.field(name).type):
            return name
    return None


def read_parquet(shard: InputShard) -> Iterator[SourceItem]:
    """Rows in order; each row of a damaged row group is one Lost, a file without a readable footer is a single one.

    The ``path`` of a struct is never opened. An object is copied to the disk first, in the folder for temporary files.
    Raises OvocrError where the file system fails.
    """
    try:
        with on_disk(shard.source) as (path,), _open(path, shard.source) as file:
            yield from _read_rows(file, shard.source)
    except pa.ArrowInvalid as error:
        yield Lost("", Reason.DAMAGED_SOURCE, f"{shard.source}: no Parquet file can be read ({error})")


def _open(file: Path | IO[bytes], source: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except OSError as error:
        if error.errno is None:  # Arrow's own "Couldn't deserialize thrift" and the like
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
    """A null, or a struct without bytes, is an image of zero bytes."""
    value = cell["bytes"] if cell.is_valid and pa.types.is_struct(cell.type) else cell
    if value.is_valid and len(value.as_buffer()) > MAX_FILE_BYTES:
        return too_large(key, len(value.as_buffer()))
    return Found(key, value.as_buffer().to_pybytes() if value.is_valid else b"")


def _holds_images(type: pa.DataType) -> bool:
    if pa.types.is_struct(type):
        return any(field.name == "bytes" and _is_binary(field.type) for field in type)
    return _is_binary(type)


def _is_binary(type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))
