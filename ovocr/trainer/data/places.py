"""The places of each record, with boxes and text heights, for random access."""

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.base.user_cache import cache_folder
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text import TextShard
from ovocr.dataset.text_heights import read_place_batches
from ovocr.views.view import ImagePlaces, whole_pixels

# Maximum number of memory-mapped shards. A mapping takes address space and page tables, but no open file.
_MAX_MAPPED_SHARDS = 128


class Places:
    """The places of all records, by shard and record id. shards: the finished shards of labelled data sets.

    The tables of a shard are read when one of its records is first requested. The places are cached in the user's cache
    folder as arrays that are memory-mapped (24 bytes per place). If the folder is not writable, the arrays are cached
    in memory.

    Raises OvocrError that names the file if a table cannot be read or does not match the other one. Can be pickled.
    """

    def __init__(self, shards: Sequence[TextShard]) -> None:
        self._shards = list(shards)
        self._loaded: OrderedDict[int, _ShardPlaces] = OrderedDict()  # least recently used first

    def __getstate__(self) -> dict[str, object]:
        """Returns only the shards; mappings are not shared between processes."""
        return {"_shards": self._shards, "_loaded": OrderedDict()}

    def of_record(self, shard: int, record_id: int) -> ImagePlaces:
        """Returns the places of a record. shard: index into the shards. Raises OvocrError."""
        return self._of_shard(shard).of_record(record_id, self._shards[shard])

    def has_known_heights(self, shard: int) -> bool:
        """Returns whether the text height of any place of a shard is known. Raises OvocrError."""
        return bool((self._of_shard(shard).text_heights > 0).any())

    def _of_shard(self, shard: int) -> "_ShardPlaces":
        if shard not in self._loaded:
            self._loaded[shard] = _load(self._shards[shard])
            if len(self._loaded) > _MAX_MAPPED_SHARDS:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(shard)
        return self._loaded[shard]


class _ShardPlaces(NamedTuple):
    """The M places of N records. ends: int64 [N], end offset of each record's places. The rest: see ``ImagePlaces``."""

    ends: NDArray[np.int64]
    ids: NDArray[np.int32]
    boxes: NDArray[np.int16]
    text_heights: NDArray[np.float32]

    def of_record(self, record_id: int, shard: TextShard) -> ImagePlaces:
        if not 0 <= record_id < len(self.ends):
            raise OvocrError(f"{_records_path(shard)}: does not contain record {record_id}; run `ovocr verify`")
        start = int(self.ends[record_id - 1]) if record_id else 0
        end = int(self.ends[record_id])
        return ImagePlaces(self.ids[start:end], self.boxes[start:end], self.text_heights[start:end])


def _load(shard: TextShard) -> _ShardPlaces:
    folder = _cache_path(shard)
    if folder is None:
        return _read_tables(shard)
    with suppress(OSError, ValueError):  # not cached yet
        return _map_arrays(folder)
    places = _read_tables(shard)
    with suppress(OSError):
        _write_arrays(folder, places)
    with suppress(OSError, ValueError):
        return _map_arrays(folder)
    return places


def _read_tables(shard: TextShard) -> _ShardPlaces:
    batches = list(read_place_batches(shard))
    record_ids = np.concatenate([np.empty(0, np.int64), *(batch.record_ids for batch in batches)])
    if not np.array_equal(record_ids, np.arange(len(record_ids))):
        raise OvocrError(f"{_records_path(shard)}: record ids are not contiguous from 0; run `ovocr verify`")
    counts = [np.bincount(batch.images, minlength=len(batch.record_ids)) for batch in batches]
    boxes = np.concatenate([np.empty((0, 8), np.float32), *(batch.boxes for batch in batches)])
    return _ShardPlaces(
        ends=np.cumsum(np.concatenate([np.empty(0, np.int64), *counts])),
        ids=np.concatenate([np.empty(0, np.int32), *(batch.ids for batch in batches)]),
        boxes=whole_pixels(boxes),
        text_heights=np.concatenate([np.empty(0), *(batch.text_heights for batch in batches)]).astype(np.float32),
    )


def _records_path(shard: TextShard) -> Path:
    return LabelledDataSet(shard.root).records_path(shard.number)


def _cache_path(shard: TextShard) -> Path | None:
    """Returns the folder that caches a shard, named by path, size and time of change of its two tables.

    Returns None if there is no cache folder or a table is missing.
    """
    cache = cache_folder()
    if cache is None:
        return None
    tables = []
    for path in (_records_path(shard), shard.path):
        try:
            status = path.stat()
        except OSError:
            return None
        tables.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return cache / "places" / hashlib.sha256(os.fsencode("\n".join(tables))).hexdigest()[:24]


def _map_arrays(folder: Path) -> _ShardPlaces:
    return _ShardPlaces(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ShardPlaces._fields))


def _write_arrays(folder: Path, places: _ShardPlaces) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The temporary name is unique, because several loader workers may cache the same shard.
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as own:
        for name, array in places._asdict().items():
            np.save(Path(own) / f"{name}.npy", array)
        os.rename(own, folder)  # fails if another worker has cached the shard
