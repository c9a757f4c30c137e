"""Reads a shard: with random access through its index, or sequentially without the index."""

import operator
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ovocr.recordio.format import MAX_RECORD_ID, Record, RecordError, shard_paths
from ovocr.recordio.index import read_index
from ovocr.recordio.recfile import RecFile

_PREFETCH_BYTES = 4 * 2**20  # limit per record: an index that omits records has large gaps


class RecordReader:
    """Random access to PREFIX.rec through PREFIX.idx: ``len()``, ``[i]`` in index order, iteration in file order.

    ``ids`` (uint64 [N]) and ``offsets`` (int64 [N]) are the index. Opens the .rec at the first read and again after
    ``close()``. Picklable; usable on both sides of a fork and by several threads. Raises RecordError if a file is
    missing or broken, or if the index points to a byte without a record or with a different record.
    """

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        rec_path, self._idx_path = shard_paths(prefix)
        self._rec = RecFile(rec_path)
        self.ids, self.offsets = read_index(self._idx_path, self._rec.size())

    def __enter__(self) -> "RecordReader":
        """Returns the reader."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the reader."""
        self.close()

    def __len__(self) -> int:
        """Returns the number of records in the index."""
        return len(self.ids)

    def __getitem__(self, position: int) -> Record:
        """Returns the record in line ``position`` of the index, from 0; negative from the end. Raises IndexError."""
        record = self._rec.record(self.offsets.item(position))
        if record.id != self.ids.item(position):
            line = operator.index(position) % len(self) + 1
            raise RecordError(
                f"{self._idx_path}:{line}: id {self.ids[position]} points to byte {self.offsets[position]} of "
                f"{self._rec.path}, which has record {record.id}; recreate the index with rebuild_index"
            )
        return record

    def __iter__(self) -> Iterator[Record]:
        """Yields the records in the order of the .rec."""
        for position in np.argsort(self.offsets, kind="stable").tolist():
            yield self[position]

    def by_id(self, id: int) -> Record:
        """Returns the record with this id, found by scanning the index. Raises RecordError if no record has it."""
        if 0 <= id <= MAX_RECORD_ID:
            positions = np.flatnonzero(self.ids == np.uint64(id))
            if len(positions):
                return self[int(positions[0])]
        raise RecordError(f"{self._idx_path}: there is no record {id}")

    def prefetch(self, positions: Iterable[int]) -> None:
        """Starts reading these records from disk and returns immediately; for data that do not fit in memory.

        Many records are then read concurrently, and only their bytes. A read without prefetch waits for the disk, and
        the kernel reads more around it.
        """
        for position in positions:
            offset = self.offsets.item(position)
            self._rec.prefetch(offset, min(self._ends.item(position) - offset, _PREFETCH_BYTES))

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        """Offset of the next record in the index for each position; never before the record's end."""
        order = np.argsort(self.offsets, kind="stable")
        ends = np.empty_like(self.offsets)
        ends[order] = np.append(self.offsets[order][1:], self._rec.size())
        return ends

    def close(self) -> None:
        """Releases the file descriptor and the mapping; the next read opens the file again."""
        self._rec.close()


def scan_records(prefix: str | os.PathLike[str]) -> Iterator[tuple[int, Record]]:
    """Reads PREFIX.rec sequentially without an index; yields each record's byte offset and the record.

    Raises RecordError at the first byte that violates the format, after yielding the records before it.
    """
    rec = RecFile(shard_paths(prefix)[0])
    offset, size = 0, rec.size()
    while offset < size:
        _, end = rec.id(offset)
        yield offset, rec.record(offset)
        offset = end
