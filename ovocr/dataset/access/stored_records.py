"""Opens the records of a finished data set, on a disk or in an object store."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ovocr.dataset.access.block_cache import BlockCache
from ovocr.dataset.access.disk_records import DiskRecords
from ovocr.dataset.access.record_blocks import BLOCK_RECORDS, Piece, RecordBlocks
from ovocr.dataset.access.store_records import StoreRecords
from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import Record


class Reading(NamedTuple):
    """How records are read.

    cache: for object stores; None for the user's cache.
    block_records: number of consecutive records that are fetched, or read ahead, together.
    is_one_list: whether blocks are counted over the data sets as one list; False begins anew with each data set.
    """

    cache: BlockCache | None = None
    block_records: int = BLOCK_RECORDS
    is_one_list: bool = True


class StoredRecords(Protocol):
    """The records of a data set by shard and position. Can be pickled, and used before and after a fork."""

    blocks: RecordBlocks

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of records of each shard, int64 [S]. The ids of a shard's records are their positions."""

    def bounds(self, shard: int) -> NDArray[np.int64]:
        """Returns the offset of each record of a shard in bytes, and then the end of the last one: int64 [n + 1]."""

    def read(self, shard: int, position: int) -> Record:
        """Returns a record. Raises RecordError if it is damaged, and OvocrError if it cannot be read."""

    def prefetch(self, shard: int, position: int) -> None:
        """Starts to read a record from a disk, and returns at once. Errors are left to ``read``."""

    def has(self, piece: Piece) -> bool:
        """Returns whether a piece of a block need not be fetched."""

    def fetch(self, piece: Piece) -> None:
        """Fetches a piece of a block from a store, or starts to read it from a disk. Raises OvocrError."""


def open_records(data_sets: Sequence[LabelledDataSet], reading: Reading | None = None) -> list[StoredRecords]:
    """Opens the records of finished data sets.

    Raises OvocrError naming a file or URL if a data set is not finished or an index cannot be read.
    """
    reading = reading or Reading()
    cache: BlockCache | None = reading.cache
    opened: list[StoredRecords] = []
    earlier = 0
    for data_set in data_sets:
        shards, before = len(data_set.all_shards()), earlier if reading.is_one_list else 0
        records: StoredRecords
        if data_set.url is None:
            records = DiskRecords(data_set, shards, block_records=reading.block_records, earlier=before)
        else:
            cache = cache or BlockCache.open()
            records = StoreRecords(data_set, shards, cache, block_records=reading.block_records, earlier=before)
        opened.append(records)
        earlier += int(records.counts.sum())
    return opened
