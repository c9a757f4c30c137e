"""Arrow files with a column of encoded images, such as those of ``save_to_disk``. Both IPC formats: stream and file."""

import errno
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.dataset.manifest import SourceOptions
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.image_tables.columns import HEAD_ROWS, TableColumns, find_columns
from ovocr.labelgen.sources.image_tables.rows import RowReader, check_root
from ovocr.labelgen.sources.input_shard import InputShard, file_shard
from ovocr.labelgen.sources.items import Lost, SourceItem
from ovocr.labelgen.sources.local_path import LocalPath
from ovocr.labelgen.sources.source_path import SourcePath

_FILE_FORMAT = b"ARROW1"
_DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError)


def plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the file as one shard. Raises UsageError if it has no column of images; damage is found when reading."""
    path = found.path
    # In an object store, the first rows may be far from the start.
    local = isinstance(path, LocalPath)
    with path.open() as content:
        try:
            schema, batches = _open(content)
            first = next(batches, None) if local else None
            columns = _columns(schema, first, options, path.name)
            check_root(columns, lambda column: _head(first, column), options, path.name)
            images = _count_rows(path.name) if local and not columns.many else None
        except _DAMAGE as error:
            _raise_system_error(error, path.name)
            images = None
    return [file_shard(path, "arrow", images, options)]


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the images of the rows in order. Damage ends the file with one Lost item that names it.

    If only the values of some rows are damaged, each of these rows is a Lost item. Raises OvocrError if the file system
    fails.
    """
    row = 0
    with path.open() as content:
        try:
            schema, batches = _open(content)
            first = next(batches, None)
            columns = _columns(schema, first, shard.options, path.name)
        except _DAMAGE as error:
            _raise_system_error(error, path.name)
            yield Lost("", Reason.DAMAGED_SOURCE, f"{path.name}: no Arrow file can be read ({error})")
            return
        rows = RowReader(columns, shard.options.image_root)
        batch = first
        while batch is not None:
            yield from _read_batch(rows, batch.select(columns.names), row, path.name)
            row += len(batch)
            try:
                batch = next(batches, None)
            except _DAMAGE as error:
                _raise_system_error(error, path.name)
                yield Lost("", Reason.DAMAGED_SOURCE, f"{path.name}: damaged after row {row - 1} ({error})")
                return


def _read_batch(rows: RowReader, batch: pa.RecordBatch, row: int, source: str) -> Iterator[SourceItem]:
    try:
        batch.validate(full=True)  # PyArrow does not check offsets while it reads: a wrong one would end the process
    except pa.ArrowException as error:
        for lost in range(row, row + len(batch)):
            yield Lost(str(lost), Reason.DAMAGED_SOURCE, f"{source}: row {lost}: {error}")
        return
    yield from rows.read(batch, row)


def _open(content: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    start = content.read(len(_FILE_FORMAT))
    content.seek(0)
    if start == _FILE_FORMAT:
        file = pa.ipc.open_file(content)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    stream = pa.ipc.open_stream(content)
    return stream.schema, iter(stream)


def _columns(schema: pa.Schema, first: pa.RecordBatch | None, options: SourceOptions, source: str) -> TableColumns:
    return find_columns(schema, lambda column: _head(first, column), options, source)


def _head(first: pa.RecordBatch | None, column: str) -> pa.Array | None:
    """Returns the first values of a column. Raises ArrowException if they are damaged."""
    if first is None:
        return None
    values = first[column][:HEAD_ROWS]
    values.validate(full=True)
    return values


def _count_rows(name: str) -> int:
    """Returns the number of rows. Maps the file into memory, so that images are not read."""
    with pa.memory_map(name) as content:
        return sum(len(batch) for batch in _open(content)[1])


def _raise_system_error(error: BaseException, source: str) -> None:
    """Raises OvocrError if the file system failed: that ends the run."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise OvocrError(f"{source}: cannot be read: {error.strerror}") from error
