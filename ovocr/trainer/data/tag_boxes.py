"""Where the tags of each record stand in its picture: from the table of records, in a form for reading at random."""

import hashlib
import os
import tempfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.base.user_cache import cache_folder
from ovocr.dataset.record_columns import read_tags

# Mapped at a time: a mapping needs no open file, but address space and page tables.
_OPEN_SHARDS = 128
# A side of a stored picture is at most 32,767 pixels, so a corner fits int16.
_LOWEST, _HIGHEST = np.iinfo(np.int16).min, np.iinfo(np.int16).max


class RecordTags(NamedTuple):
    """The distinct tags of a record. ids: int32 [M], class ids. boxes: int16 [M, 8], x1, y1 .. x4, y4 in pixels."""

    ids: NDArray[np.int32]
    boxes: NDArray[np.int16]


class TagBoxes:
    """The tags of the records of shards, by shard and record id. paths: of the shards' tables of records.

    A table is read once, when a record of its shard is first asked for, and kept in the user's cache folder as arrays
    that are mapped into memory: 20 bytes a tag. Where nothing can be written there, it is kept in memory.

    Raises OvocrError, naming the file, where a table cannot be read or has no boxes. May be pickled.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._shards: OrderedDict[int, _ShardTags] = OrderedDict()  # by last use, the latest last

    def __getstate__(self) -> dict[str, object]:
        """The paths alone: mappings belong to this process."""
        return {"_paths": self._paths, "_shards": OrderedDict()}

    def of_record(self, shard: int, record_id: int) -> RecordTags:
        """The tags of a record of the shard at this place among the paths. Raises OvocrError."""
        if shard not in self._shards:
            self._shards[shard] = _load(self._paths[shard])
            if len(self._shards) > _OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards.move_to_end(shard)
        return self._shards[shard].of_record(record_id, self._paths[shard])


class _ShardTags(NamedTuple):
    """ends: int64 [N], where each record's tags end among all of the shard."""

    ends: NDArray[np.int64]
    ids: NDArray[np.int32]
    boxes: NDArray[np.int16]

    def of_record(self, record_id: int, path: Path) -> RecordTags:
        if not 0 <= record_id < len(self.ends):
            raise OvocrError(f"{path}: has no record {record_id}; `ovocr verify` tells what else does not fit")
        start = int(self.ends[record_id - 1]) if record_id else 0
        end = int(self.ends[record_id])
        return RecordTags(self.ids[start:end], self.boxes[start:end])


def _load(path: Path) -> _ShardTags:
    folder = _kept_folder(path)
    if folder is None:
        return _read_table(path)
    with suppress(OSError, ValueError):  # not there yet
        return _mapped(folder)
    tags = _read_table(path)
    with suppress(OSError):
        _keep(folder, tags)
    with suppress(OSError, ValueError):
        return _mapped(folder)
    return tags


def _read_table(path: Path) -> _ShardTags:
    tags = read_tags(path)
    return _ShardTags(tags.ends, tags.ids, np.clip(np.rint(tags.boxes), _LOWEST, _HIGHEST).astype(np.int16))


def _kept_folder(path: Path) -> Path | None:
    """Named by which table it is; None where the user has no home."""
    cache = cache_folder()
    if cache is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    table = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    return cache / "tag-boxes" / hashlib.sha256(os.fsencode(table)).hexdigest()[:24]


def _mapped(folder: Path) -> _ShardTags:
    ends, ids, boxes = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ShardTags._fields)
    return _ShardTags(ends, ids, boxes)


def _keep(folder: Path, tags: _ShardTags) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Under a name of its own: loader workers meet a shard at the same time.
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as own:
        for name, array in tags._asdict().items():
            np.save(Path(own) / f"{name}.npy", array)
        os.rename(own, folder)  # fails where another worker's is there: it is the same
