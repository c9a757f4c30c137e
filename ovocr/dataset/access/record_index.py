"""The byte offsets of all records of a data set, memory-mapped from one file in the user's cache folder.

The text indexes of 30 million records take 15 seconds to parse, and half a gigabyte of memory in every process. The
mapped file takes neither: the processes of a machine share its pages. Whichever of them comes first writes it.
"""

import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked_within, written_by_any
from ovocr.base.user_cache import cache_folder
from ovocr.recordio.index import parse_index

_MAGIC = b"ovocrix1"
_HEADER = struct.Struct("<8s32sqq")  # magic, identity, number of shards, number of records
_LOCK_TIMEOUT_S = 600.0
# The user sees progress above this number of shards, and a warning about memory above this number of records.
_MANY_SHARDS = 500
_MANY_RECORDS = 1_000_000


class ShardFiles(NamedTuple):
    """What a shard contributes to an index. rec_size: bytes. text, name: content and name of the .idx."""

    rec_size: int
    text: bytes
    name: str


class IndexSource(Protocol):
    """The index files of a data set, on a disk or in a store."""

    name: str
    """Path or URL of the data set."""

    shards: int
    """Number of shards."""

    def identity(self) -> bytes:
        """Returns a hash of 32 bytes that changes with the files. Raises OvocrError."""

    def read(self) -> Iterator[ShardFiles]:
        """Yields the files of each shard, in order. Raises OvocrError."""


class RecordIndex:
    """Where the records of a data set are. Pickling keeps only the path of the mapped file.

    counts: int64 [S], number of records of each shard, whose ids are 0 to n - 1.
    bounds: int64 [N + S]; for each shard the offset of each record in bytes, and then the size of its .rec.
    path: the mapped file; None if ``bounds`` is in memory, because the user's cache folder cannot be used.
    """

    def __init__(self, counts: NDArray[np.int64], bounds: NDArray[np.int64], path: Path | None) -> None:
        self.counts = counts
        self._bounds, self._path = bounds, path
        self._first = np.cumsum(counts + 1) - (counts + 1)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is None:
            return RecordIndex, (self.counts, self._bounds, None)
        return _map_again, (self._path,)

    def bounds(self, shard: int) -> NDArray[np.int64]:
        """Returns the offset of each record of a shard, and then the end of the last one: int64 [n + 1]."""
        first = self._first.item(shard)
        return self._bounds[first : first + self.counts.item(shard) + 1]


def open_record_index(source: IndexSource) -> RecordIndex:
    """Maps the index of a data set, which is written first if there is none or if the files have changed.

    Raises OvocrError naming the .idx if one cannot be read, or if its ids are not 0 to n - 1.
    """
    cache = cache_folder()
    identity = source.identity()
    if cache is None:
        return _in_memory(source, "there is no home folder")
    path = cache / "indexes" / f"{hashlib.sha256(os.fsencode(source.name)).hexdigest()[:24]}.bin"
    if (found := _map(path, identity)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with suppress(OSError):  # a file system without locks: several processes may write the same
                busy = f"{path}: another process is writing it"
                stack.enter_context(locked_within(path.with_suffix(".lock"), busy, _LOCK_TIMEOUT_S))
            if (found := _map(path, identity)) is not None:
                return found
            _write(path, identity, source)
            found = _map(path, identity)
    except OSError as error:
        return _in_memory(source, f"{path}: {error.strerror or error}")
    if found is None:
        raise OvocrError(f"{path}: was changed by another program while it was read")
    return found


def _in_memory(source: IndexSource, reason: str) -> RecordIndex:
    parts = list(_parse(source))
    counts = np.array([len(part) - 1 for part in parts], np.int64)
    records = int(counts.sum())
    if records > _MANY_RECORDS:
        print(
            f"ovocr: {source.name}: every process keeps {8 * records / 1e6:,.0f} MB of offsets in memory, because they "
            f"cannot be cached ({reason}); set XDG_CACHE_HOME to a folder that is writable",
            file=sys.stderr,
            flush=True,
        )
    return RecordIndex(counts, np.concatenate([np.empty(0, np.int64), *parts]), None)


def _parse(source: IndexSource) -> Iterator[NDArray[np.int64]]:
    """Yields the bounds of each shard; see ``RecordIndex.bounds``."""
    shards = tqdm(
        source.read(),
        total=source.shards,
        desc="indexes",
        unit="shard",
        leave=False,
        disable=None if source.shards > _MANY_SHARDS else True,
    )
    for rec_size, data, name in shards:
        ids, offsets = parse_index(data, name, rec_size)
        if not np.array_equal(ids, np.arange(len(ids))) or (np.diff(offsets) <= 0).any():
            raise OvocrError(f"{name}: its records are not in the order of their ids, from 0; run `ovocr verify`")
        yield np.append(offsets, rec_size)


def _write(path: Path, identity: bytes, source: IndexSource) -> None:
    """Writes the file; keeps one shard in memory. Raises OSError."""
    with written_by_any(path) as file:
        counts = np.zeros(source.shards, np.int64)
        file.write(bytes(_HEADER.size + counts.nbytes))
        for number, bounds in enumerate(_parse(source)):
            counts[number] = len(bounds) - 1
            file.write(bounds.tobytes())
        file.seek(0)
        file.write(_HEADER.pack(_MAGIC, identity, len(counts), int(counts.sum())) + counts.tobytes())


def _map_again(path: Path) -> RecordIndex:
    """Maps the file in another process."""
    found = _map(path, None)
    if found is None:
        raise OvocrError(f"{path}: was deleted while it was in use; run the command again")
    return found


def _map(path: Path, identity: bytes | None) -> RecordIndex | None:
    """Returns the index in a file; None if it does not exist, is incomplete, or is of other files than ``identity``."""
    try:
        with path.open("rb") as file:
            magic, found, shards, records = _HEADER.unpack(file.read(_HEADER.size))
            counts = np.fromfile(file, np.int64, shards)
        start = _HEADER.size + 8 * shards
        is_whole = magic == _MAGIC and path.stat().st_size == start + 8 * (records + shards)
        if not is_whole or len(counts) != shards or int(counts.sum()) != records or identity not in (None, found):
            return None
        # An array of NumPy's own class: slices of a memmap are slow.
        bounds = np.asarray(np.memmap(path, np.int64, "r", offset=start)) if shards else np.empty(0, np.int64)
    except (OSError, ValueError, struct.error, MemoryError):  # missing or not written by this function
        return None
    return RecordIndex(counts, bounds, path)
