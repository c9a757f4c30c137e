"""The places of each record, with boxes and text heights, for random access."""

import hashlib
import mmap
import os
import struct
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked_within, written_by_any
from ovocr.base.user_cache import cache_folder
from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import read_files
from ovocr.dataset.text import TextShard
from ovocr.dataset.text_heights import read_place_batches
from ovocr.views.view import ImagePlaces, whole_pixels

# Maximum number of memory-mapped shards. Each mapping keeps a file open, and a process may often open only 1024 files.
_MAX_MAPPED_SHARDS = 128
_MAGIC = b"ovocrpl1"
_HEADER = struct.Struct("<8sqq")  # magic, number of records, number of places
_LOCK_TIMEOUT_S = 600.0

PlacesShard = tuple[LabelledDataSet, int]
"""A finished shard: its labelled data set, and its number there."""


class Places:
    """The places of all records, by shard and record id. shards: the finished shards of labelled data sets.

    The tables of a shard are read when one of its records is first requested; those of a store are fetched once per
    machine. The places are cached in the user's cache folder in a file that is memory-mapped (24 bytes per place). If
    the folder is not writable, the places are cached in memory.

    Raises OvocrError that names the file if a table cannot be read or does not match the other one. Can be pickled.
    """

    def __init__(self, shards: Sequence[PlacesShard]) -> None:
        self._shards = list(shards)
        self._cached: dict[int, Path | None] = {}
        self._loaded: OrderedDict[int, _ShardPlaces] = OrderedDict()  # least recently used first

    def __getstate__(self) -> dict[str, object]:
        """Returns only the shards; mappings are not shared between processes."""
        return {"_shards": self._shards, "_cached": {}, "_loaded": OrderedDict()}

    def of_record(self, shard: int, record_id: int) -> ImagePlaces:
        """Returns the places of a record. shard: index into the shards. Raises OvocrError."""
        return self._of_shard(shard).of_record(record_id, self._shards[shard])

    def has_known_heights(self, shard: int) -> bool:
        """Returns whether the text height of any place of a shard is known. Raises OvocrError."""
        return bool((self._of_shard(shard).text_heights > 0).any())

    def prepare(self, shard: int) -> None:
        """Caches the places of a shard, if they are not. May be called by any thread. Raises OvocrError."""
        path = self._cache_path(shard)
        if path is not None and not path.exists():
            _load(self._shards[shard], path)

    def _cache_path(self, shard: int) -> Path | None:
        if shard not in self._cached:
            self._cached[shard] = _cache_path(self._shards[shard])
        return self._cached[shard]

    def _of_shard(self, shard: int) -> "_ShardPlaces":
        if shard not in self._loaded:
            self._loaded[shard] = _load(self._shards[shard], self._cache_path(shard))
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

    def of_record(self, record_id: int, shard: PlacesShard) -> ImagePlaces:
        if not 0 <= record_id < len(self.ends):
            raise OvocrError(f"{_records_name(shard)}: does not contain record {record_id}; run `ovocr verify`")
        start = int(self.ends[record_id - 1]) if record_id else 0
        end = int(self.ends[record_id])
        return ImagePlaces(self.ids[start:end], self.boxes[start:end], self.text_heights[start:end])


def _load(shard: PlacesShard, cached: Path | None) -> _ShardPlaces:
    """Returns the places of a shard. cached: file of its places, which may not exist yet; None for no cache."""
    if cached is None:
        return _read_tables(shard)
    with suppress(OSError, ValueError, struct.error):  # not cached yet
        return _map_places(cached)
    with ExitStack() as stack:
        if shard[0].url is not None:  # several processes should not fetch the same tables
            with suppress(OSError):
                cached.parent.mkdir(parents=True, exist_ok=True)
                busy = f"{cached}: another process is writing it"
                stack.enter_context(locked_within(cached.with_suffix(".lock"), busy, _LOCK_TIMEOUT_S))
            with suppress(OSError, ValueError, struct.error):
                return _map_places(cached)
        places = _read_tables(shard)
        with suppress(OSError):
            _write_places(cached, places)
    with suppress(OSError, ValueError, struct.error):
        return _map_places(cached)
    return places


def _read_tables(shard: PlacesShard) -> _ShardPlaces:
    data_set, number = shard
    with shard_on_disk(data_set, number, ["ocr", "records"]) as own:
        batches = list(read_place_batches(TextShard(own.root, number)))
    record_ids = np.concatenate([np.empty(0, np.int64), *(batch.record_ids for batch in batches)])
    if not np.array_equal(record_ids, np.arange(len(record_ids))):
        raise OvocrError(f"{_records_name(shard)}: record ids are not contiguous from 0; run `ovocr verify`")
    counts = [np.bincount(batch.images, minlength=len(batch.record_ids)) for batch in batches]
    boxes = np.concatenate([np.empty((0, 8), np.float32), *(batch.boxes for batch in batches)])
    return _ShardPlaces(
        ends=np.cumsum(np.concatenate([np.empty(0, np.int64), *counts])),
        ids=np.concatenate([np.empty(0, np.int32), *(batch.ids for batch in batches)]),
        boxes=whole_pixels(boxes),
        text_heights=np.concatenate([np.empty(0), *(batch.text_heights for batch in batches)]).astype(np.float32),
    )


def _records_name(shard: PlacesShard) -> str:
    data_set, number = shard
    return data_set.name_of(data_set.records_path(number))


def _cache_path(shard: PlacesShard) -> Path | None:
    """Returns the file that caches a shard.

    It is named by path, size and time of change of the shard's two tables; in a store by URL and hashes. None if there
    is no cache folder or a table is missing.
    """
    cache = cache_folder()
    if cache is None:
        return None
    data_set, number = shard
    identity = []
    if data_set.url is not None:
        files = read_files(data_set.stats_path(number))
        identity = [f"{data_set.url} {number}", files["records"].sha256, files["ocr"].sha256]
    else:
        for path in (data_set.records_path(number), data_set.ocr_path(number)):
            try:
                status = path.stat()
            except OSError:
                return None
            identity.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return cache / "shard-places" / f"{hashlib.sha256(os.fsencode(chr(10).join(identity))).hexdigest()[:24]}.bin"


def _map_places(path: Path) -> _ShardPlaces:
    """Maps the file of a shard. Raises OSError, ValueError or struct.error if it is missing or incomplete."""
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, records, places = _HEADER.unpack_from(view)
    parts = ((np.int64, records), (np.int32, places), (np.float32, places), (np.int16, 8 * places))
    sizes = [np.dtype(kind).itemsize * count for kind, count in parts]
    if magic != _MAGIC or min(records, places) < 0 or len(view) != _HEADER.size + sum(sizes):
        raise ValueError(f"{path}: is incomplete")
    starts = np.cumsum([_HEADER.size, *sizes]).tolist()
    ends, ids, text_heights, boxes = (
        np.frombuffer(view, kind, count, start) for (kind, count), start in zip(parts, starts, strict=False)
    )
    return _ShardPlaces(ends, ids, boxes.reshape(-1, 8), text_heights)


def _write_places(path: Path, places: _ShardPlaces) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_by_any(path) as file:  # several loader workers may cache the same shard
        file.write(_HEADER.pack(_MAGIC, len(places.ends), len(places.ids)))
        for array in (places.ends, places.ids, places.text_heights, places.boxes):
            file.write(array.tobytes())
