"""The records of a finished data set in an object store, fetched in blocks of consecutive records."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.base.store_folder import StoreFolder
from ovocr.dataset.access.block_cache import Block, BlockCache
from ovocr.dataset.access.record_blocks import BLOCK_RECORDS, Piece, RecordBlocks
from ovocr.dataset.access.record_index import ShardFiles, open_record_index
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription, read_files
from ovocr.recordio import Record, RecordError
from ovocr.recordio.decoding import decode_record

# Index files that are fetched concurrently, and kept in memory.
_INDEXES_AT_ONCE = 64


class Fetched(NamedTuple):
    """What was fetched from object stores.

    bytes: of records. requests: that succeeded. failed: attempts that failed, besides those that the store's client
        repeats by itself.
    damaged: blocks whose files in the cache were damaged.
    """

    bytes: int = 0
    requests: int = 0
    failed: int = 0
    damaged: int = 0

    def plus(self, other: "Fetched") -> "Fetched":
        """Returns the sums."""
        return Fetched(*(own + others for own, others in zip(self, other, strict=True)))

    def minus(self, other: "Fetched") -> "Fetched":
        """Returns the differences."""
        return Fetched(*(own - others for own, others in zip(self, other, strict=True)))


NOTHING_FETCHED = Fetched()


class StoreRecords:
    """The records of a data set by shard and position. Can be pickled, and used before and after a fork.

    shards: number of shards, all finished.
    cache: where blocks are kept.
    block_records, earlier: size and earlier of its blocks, see ``RecordBlocks``.

    Attributes:
        blocks: they are fetched in pieces.

    Raises OvocrError naming the URL if the store fails, or if an index or a .rec does not match the statistics.
    """

    def __init__(
        self,
        data_set: LabelledDataSet,
        shards: int,
        cache: BlockCache,
        *,
        block_records: int = BLOCK_RECORDS,
        earlier: int = 0,
    ) -> None:
        if data_set.url is None:
            raise ValueError(f"{data_set}: is not in an object store")
        self._data_set, self.cache = data_set, cache
        self._store = StoreFolder(data_set.url)
        files = _StoreIndexes(data_set, self._store, shards)
        self._index = open_record_index(files)
        self._folder = hashlib.sha256(data_set.url.encode() + files.identity()).hexdigest()[:24]
        self.blocks = RecordBlocks(self._index.counts, block_records, earlier)
        self._count = _Count()

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of records of each shard, int64 [S]. The ids of a shard's records are their positions."""
        return self._index.counts

    @property
    def fetched(self) -> Fetched:
        """What this process has fetched; ``damaged`` is 0, because several data sets may share a cache."""
        return Fetched(self._count.bytes, self._count.requests, self._store.failed_attempts)

    def bounds(self, shard: int) -> NDArray[np.int64]:
        """Returns the offset of each record of a shard in bytes, and then the end of the last one: int64 [n + 1]."""
        return self._index.bounds(shard)

    def prefetch(self, shard: int, position: int) -> None:
        """Does nothing: records are fetched in pieces, by ``fetch``."""

    def has(self, piece: Piece) -> bool:
        """Returns whether a piece is in the cache."""
        return self.cache.has(self._cached(piece))

    def fetch(self, piece: Piece) -> None:
        """Fetches a piece to the cache, unless it is there or another process or thread is fetching it."""
        self.cache.ensure(self._cached(piece), lambda: self._fetch(piece))

    def read(self, shard: int, position: int, *, alone: bool = False) -> Record:
        """Returns a record, from the cache. Fetches its piece if it is not there.

        alone: fetches the record alone if its piece is not there, and keeps nothing.

        Raises RecordError if the record is damaged, and OvocrError if the store fails.
        """
        piece = self.blocks.piece(shard, position)
        if alone and not self.has(piece):
            data = self._fetch(Piece(shard, position, position + 1))
        else:
            bounds = self.bounds(shard)
            begin = bounds.item(piece.first)
            start, end = bounds.item(position) - begin, bounds.item(position + 1) - begin
            data = self.cache.read(self._cached(piece), start, end, lambda: self._fetch(piece))
        try:
            return self._decode(data, shard, position)
        except RecordError:
            # The block may have been fetched while the object was damaged, before someone restored it.
            record = self._decode(self._fetch(Piece(shard, position, position + 1)), shard, position)
        self.cache.remove(self._cached(piece))
        return record

    def _decode(self, data: bytes, shard: int, position: int) -> Record:
        try:
            record = decode_record(data)
        except RecordError as error:
            raise RecordError(f"{self._rec_name(shard)}: record {position}: {error}; run `ovocr verify`") from error
        if record.id != position:
            raise RecordError(f"{self._rec_name(shard)}: record {position} has the id {record.id}; run `ovocr verify`")
        return record

    def _fetch(self, piece: Piece) -> bytes:
        name = self._data_set.data_files(piece.shard, with_text=False)["rec"].relative_to(self._data_set.root)
        start, end = self.bounds(piece.shard)[[piece.first, piece.end]].tolist()
        try:
            data = self._store.read(name.as_posix(), start, end)
        except FileNotFoundError:
            raise OvocrError(f"{self._rec_name(piece.shard)}: no such file; restore the file") from None
        self._count.add(len(data))
        return data

    def _cached(self, piece: Piece) -> Block:
        start, end = self.bounds(piece.shard)[[piece.first, piece.end]].tolist()
        return Block(f"{self._folder}/{piece.shard:05d}-{piece.first}-{piece.end}", end - start)

    def _rec_name(self, shard: int) -> str:
        return self._data_set.name_of(self._data_set.data_files(shard, with_text=False)["rec"])


class _Count:
    """The requests of a process and their bytes. A pickled copy begins at 0."""

    def __init__(self) -> None:
        self.bytes = self.requests = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Count, ()

    def add(self, size: int) -> None:
        with self._lock:
            self.bytes += size
            self.requests += 1


class _StoreIndexes:
    """The index files of a data set in a store, compared with its statistics."""

    def __init__(self, data_set: LabelledDataSet, store: StoreFolder, shards: int) -> None:
        self._data_set, self._store = data_set, store
        self.name, self.shards = str(data_set), shards
        self._described = [read_files(data_set.stats_path(shard)) for shard in range(shards)]
        self._check_sizes()

    def identity(self) -> bytes:
        """Hashes the hashes of the files in the statistics."""
        digest = hashlib.sha256(str(self.shards).encode())
        for files in self._described:
            digest.update(f"{files['rec'].sha256} {files['idx'].sha256}\n".encode())
        return digest.digest()

    def read(self) -> Iterator[ShardFiles]:
        for start in range(0, self.shards, _INDEXES_AT_ONCE):
            numbers = range(start, min(start + _INDEXES_AT_ONCE, self.shards))
            names = [self._relative(number, "idx") for number in numbers]
            try:
                contents = self._store.read_many(names)
            except FileNotFoundError as error:
                raise OvocrError(f"{self._store.url}: {error}: no such file; restore the file") from None
            for number, name in zip(numbers, names, strict=True):
                text, files = contents[name], self._described[number]
                found = FileDescription(len(text), hashlib.sha256(text).hexdigest())
                if found != files["idx"]:
                    raise OvocrError(
                        f"{self._store.url}/{name}: does not match the shard's statistics; restore the file"
                    )
                yield ShardFiles(files["rec"].bytes, text, f"{self._store.url}/{name}")

    def _check_sizes(self) -> None:
        """Compares the size of each .rec with the statistics. Lists a folder, which takes a request per 1,000 files."""
        if not self.shards:
            return
        folder = self._data_set.rec_prefix(0).parent.name
        sizes: dict[str, int] = {}
        with suppress(FileNotFoundError):
            sizes = self._store.sizes(folder)
        for number, files in enumerate(self._described):
            name = self._relative(number, "rec")
            found, wanted = sizes.get(name.rpartition("/")[2]), files["rec"].bytes
            if found is None:
                raise OvocrError(f"{self._store.url}/{name}: no such file; restore the file")
            if found != wanted:
                raise OvocrError(
                    f"{self._store.url}/{name}: has {found:,} bytes, but {wanted:,} in the shard's statistics; restore "
                    "the file"
                )

    def _relative(self, shard: int, name: str) -> str:
        path = self._data_set.data_files(shard, with_text=False)[name]
        return path.relative_to(self._data_set.root).as_posix()
