"""The boxes of the places of each record, for random access."""

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
from ovocr.dataset.record_columns import read_places

# Maximum number of memory-mapped shards. A mapping takes address space and page tables, but no open file.
_MAX_MAPPED_SHARDS = 128
# A side of a stored image is at most 32,767 pixels, so int16 can store a corner.
_LOWEST, _HIGHEST = np.iinfo(np.int16).min, np.iinfo(np.int16).max


class RecordPlaces(NamedTuple):
    """The M places of a record: where the words of its tags stand.

    ids: int32 [M], class ids, which repeat. boxes: int16 [M, 8], x1, y1 .. x4, y4 in pixels.
    """

    ids: NDArray[np.int32]
    boxes: NDArray[np.int16]


class PlaceBoxes:
    """The places of all records, by shard and record id. paths: paths of the shards' tables of records.

    A table is read when a record of its shard is first requested, and cached in the user's cache folder as arrays that
    are memory-mapped (20 bytes per place). If the folder is not writable, the arrays are cached in memory.

    Raises OvocrError that names the file if a table cannot be read or has no boxes. Can be pickled.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._shards: OrderedDict[int, _ShardPlaces] = OrderedDict()  # least recently used first

    def __getstate__(self) -> dict[str, object]:
        """Returns only the paths; mappings are not shared between processes."""
        return {"_paths": self._paths, "_shards": OrderedDict()}

    def of_record(self, shard: int, record_id: int) -> RecordPlaces:
        """Returns the places of a record. shard: index into the paths. Raises OvocrError."""
        if shard not in self._shards:
            self._shards[shard] = _load(self._paths[shard])
            if len(self._shards) > _MAX_MAPPED_SHARDS:
                self._shards.popitem(last=False)
        self._shards.move_to_end(shard)
        return self._shards[shard].of_record(record_id, self._paths[shard])


class _ShardPlaces(NamedTuple):
    """The M places of N records. ends: int64 [N], end offset of each record's places. ids, boxes: see RecordPlaces."""

    ends: NDArray[np.int64]
    ids: NDArray[np.int32]
    boxes: NDArray[np.int16]

    def of_record(self, record_id: int, path: Path) -> RecordPlaces:
        if not 0 <= record_id < len(self.ends):
            raise OvocrError(f"{path}: does not contain record {record_id}; run `ovocr verify`")
        start = int(self.ends[record_id - 1]) if record_id else 0
        end = int(self.ends[record_id])
        return RecordPlaces(self.ids[start:end], self.boxes[start:end])


def _load(path: Path) -> _ShardPlaces:
    folder = _cache_path(path)
    if folder is None:
        return _read_table(path)
    with suppress(OSError, ValueError):  # not cached yet
        return _map_arrays(folder)
    places = _read_table(path)
    with suppress(OSError):
        _write_arrays(folder, places)
    with suppress(OSError, ValueError):
        return _map_arrays(folder)
    return places


def _read_table(path: Path) -> _ShardPlaces:
    places = read_places(path)
    return _ShardPlaces(places.ends, places.ids, np.clip(np.rint(places.boxes), _LOWEST, _HIGHEST).astype(np.int16))


def _cache_path(path: Path) -> Path | None:
    """Returns the folder that caches a table, named by the table's path, size and time of change.

    Returns None if there is no cache folder or no such table.
    """
    cache = cache_folder()
    if cache is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    table = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    return cache / "place-boxes" / hashlib.sha256(os.fsencode(table)).hexdigest()[:24]


def _map_arrays(folder: Path) -> _ShardPlaces:
    ends, ids, boxes = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ShardPlaces._fields)
    return _ShardPlaces(ends, ids, boxes)


def _write_arrays(folder: Path, places: _ShardPlaces) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The temporary name is unique, because several loader workers may cache the same shard.
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as own:
        for name, array in places._asdict().items():
            np.save(Path(own) / f"{name}.npy", array)
        os.rename(own, folder)  # fails if another worker has cached the shard
