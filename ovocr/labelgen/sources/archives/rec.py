"""MXNet RecordIO shards, read in the order of their index."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.manifest import SourceOptions
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.input_shard import InputShard, file_shard
from ovocr.labelgen.sources.items import MAX_FILE_BYTES, Found, Lost, SourceItem, too_large
from ovocr.labelgen.sources.source_path import SourcePath
from ovocr.recordio import RecordError, RecordReader, scan_records

_INDEX = ".idx"


def plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the file as one shard. Raises UsageError if its index is missing."""
    path = found.path
    if not path.name.endswith(".rec"):
        raise UsageError(f"{path.name}: rename it and its index so that their names end in .rec and .idx")
    index = path.sibling(_INDEX)
    try:
        with index.open() as lines:
            images = sum(1 for _ in lines)
    except OvocrError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise UsageError(
            f"{path.name}: its index {index.name} is missing; make it with ovocr.recordio.rebuild_index"
        ) from error
    return [file_shard(path, "rec", images)]


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the records in the order of the index, with the id as key. A damaged record is one Lost item.

    If the index does not match the file, because either is truncated, the records are read from front to back up to the
    damage, which is one Lost item. Raises RecordError if the file cannot be read.
    """
    with path.on_disk(_INDEX) as local:
        for item in _read_records(local.with_suffix("")):
            if isinstance(item, Lost) and local != Path(path.name):  # the detail names a temporary copy
                item = replace(item, detail=item.detail.replace(str(local.parent), os.path.dirname(path.name)))
            yield item


def _read_records(prefix: Path) -> Iterator[SourceItem]:
    try:
        reader = RecordReader(prefix)
    except RecordError as error:
        yield from _read_without_index(prefix, error)
        return
    with reader:
        for position, id in enumerate(reader.ids.tolist()):
            yield _read_record(reader, position, str(id))


def _read_record(reader: RecordReader, position: int, key: str) -> SourceItem:
    try:
        return _found(key, reader[position].image)
    except RecordError as error:
        return _lost(key, error)


def _read_without_index(prefix: Path, error: RecordError) -> Iterator[SourceItem]:
    damage = _lost("", error)
    try:
        for _, record in scan_records(prefix):
            yield _found(str(record.id), record.image)
    except RecordError as first_damage:
        damage = _lost("", first_damage)
    yield damage


def _found(key: str, image: bytes) -> SourceItem:
    return Found(key, image) if len(image) <= MAX_FILE_BYTES else too_large(key, len(image))


def _lost(key: str, error: RecordError) -> Lost:
    """Returns the item for a damaged record. Re-raises the error if the file system failed: that ends the run."""
    if isinstance(error.__cause__, OSError):
        raise error
    return Lost(key, Reason.DAMAGED_SOURCE, str(error))
