"""Blocks of consecutive records, which are fetched or read ahead together."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_RECORDS = 256
"""Default number of records of a block."""


class Piece(NamedTuple):
    """The part of a block that is in one shard: the records [first, end) of the shard."""

    shard: int
    first: int
    end: int


class RecordBlocks:
    """The blocks of a data set in a list of data sets; block k has the records [k * size, (k + 1) * size) of the list.

    counts: int64 [S], number of records of each shard of the data set.
    size: number of records of a block.
    earlier: number of records in the list before those of the data set.
    """

    def __init__(self, counts: NDArray[np.int64], size: int = BLOCK_RECORDS, earlier: int = 0) -> None:
        self._counts, self._size = counts, size
        self._first = earlier + np.cumsum(counts) - counts

    def piece(self, shard: int, position: int) -> Piece:
        """Returns the piece with a record."""
        first = self._first.item(shard)
        start = (first + position) // self._size * self._size - first
        return Piece(shard, max(0, start), min(start + self._size, self._counts.item(shard)))

    def pieces(self, shards: NDArray[np.int64], positions: NDArray[np.int64]) -> list[Piece]:
        """Returns the pieces with these records: each once, in the order of their first records."""
        blocks = (self._first[shards] + positions) // self._size
        _, first = np.unique(blocks * len(self._counts) + shards, return_index=True)
        first.sort()
        return [self.piece(*where) for where in zip(shards[first].tolist(), positions[first].tolist(), strict=True)]
