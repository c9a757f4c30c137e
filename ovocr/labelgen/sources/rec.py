"""Images of an MXNet RecordIO shard, in the order of its index."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.object_store import is_url
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.files import file_state, on_disk, opened
from ovocr.labelgen.sources.plan import MAX_FILE_BYTES, Found, InputShard, Lost, SourceItem, too_large
from ovocr.recordio import RecordError, RecordReader, scan_records


def plan_rec(source: str) -> InputShard:
    """The file as one shard. Raises UsageError where its index is missing."""
    index = _index_of(source)
    try:
        with opened(index) as lines:
            images = sum(1 for _ in lines)
    except OvocrError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise UsageError(f"{source}: its index {index} is missing; ovocr.recordio.rebuild_index makes it") from error
    return InputShard(source=source, kind="rec", images=images, size=file_state(source).size)


def read_rec(shard: InputShard) -> Iterator[SourceItem]:
    """Records in index order, the id as key; a record that is damaged is one Lost, and the next is tried.

    Where the index does not fit the file, because one of them is cut, the records are read from front to back as far
    as they go, and the damage is one Lost. Raises RecordError where the file cannot be read at all.

    An object is copied to the disk first, in the folder for temporary files: records are read at random.
    """
    with on_disk(shard.source, _index_of(shard.source)) as (path, _):
        for item in _read_records(path.with_suffix("")):
            if isinstance(item, Lost) and is_url(shard.source):
                folder = shard.source.rpartition("/")[0]
                item = replace(item, detail=item.detail.replace(str(path.parent), folder))
            yield item


def _index_of(source: str) -> str:
    return source.removesuffix(".rec") + ".idx"


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
    """Damage to the file's content; a file system that fails is another thing, and ends the run."""
    if isinstance(error.__cause__, OSError):
        raise error
    return Lost(key, Reason.DAMAGED_SOURCE, str(error))
