"""The records of a finished data set on a disk."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.record_blocks import BLOCK_RECORDS, Piece, RecordBlocks
from ovocr.dataset.access.record_index import ShardFiles, open_record_index
from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import Record, RecordError
from ovocr.recordio.recfile import RecFile

# Maximum number of mapped .rec files. A mapping keeps a file open, and a process may often open only 1024 files.
_MAX_OPEN_FILES = 128
# Pieces that a process does not read ahead again. A piece is in use for a window of the order, then for none.
_PIECES_REMEMBERED = 4096
_READ_BYTES = 4 * 2**20
# Limit per record that is read ahead.
_PREFETCH_BYTES = 4 * 2**20


class DiskRecords:
    """The records of a data set by shard and position. Can be pickled, and used before and after a fork.

    shards: number of shards, all finished.
    block_records, earlier: size and earlier of its blocks, see ``RecordBlocks``.

    Attributes:
        blocks: they are read ahead in pieces.

    Raises OvocrError naming the file if an index cannot be read. The .rec files are opened when they are first read.
    """

    def __init__(
        self, data_set: LabelledDataSet, shards: int, *, block_records: int = BLOCK_RECORDS, earlier: int = 0
    ) -> None:
        self._data_set = data_set
        self._index = open_record_index(_DiskIndexes(data_set, shards))
        self.blocks = RecordBlocks(self._index.counts, block_records, earlier)
        self._read_ahead: OrderedDict[Piece, None] = OrderedDict()  # least recently read first
        self._open: OrderedDict[int, RecFile] = OrderedDict()  # least recently used first

    def __getstate__(self) -> dict[str, Any]:
        """Returns everything except the open files, which belong to this process."""
        return {**vars(self), "_open": OrderedDict(), "_read_ahead": OrderedDict()}

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of records of each shard, int64 [S]. The ids of a shard's records are their positions."""
        return self._index.counts

    def bounds(self, shard: int) -> NDArray[np.int64]:
        """Returns the offset of each record of a shard in bytes, and then the end of the last one: int64 [n + 1]."""
        return self._index.bounds(shard)

    def read(self, shard: int, position: int) -> Record:
        """Returns a record. Raises RecordError if it is damaged, or if the index points elsewhere."""
        record = self._file(shard).record(self._index.bounds(shard).item(position))
        if record.id != position:
            prefix = self._data_set.rec_prefix(shard)
            raise RecordError(
                f"{prefix}.idx: points for record {position} to record {record.id}; recreate it with rebuild_index"
            )
        return record

    def prefetch(self, shard: int, position: int) -> None:
        """Starts to read a record and returns at once. Errors are left to ``read``.

        The disk then reads many records together, and only their bytes.
        """
        start, end = self._index.bounds(shard)[position : position + 2].tolist()
        with suppress(RecordError, ValueError):  # missing or shorter than expected
            self._file(shard).prefetch(start, min(end - start, _PREFETCH_BYTES))

    def has(self, piece: Piece) -> bool:
        """Returns whether this process has lately read a piece."""
        return piece in self._read_ahead

    def fetch(self, piece: Piece) -> None:
        """Reads a piece from the disk as one range and drops it. It is then in the page cache, if there is room.

        The system reads no more than 128 KiB of a network file system if it is asked to read ahead. Several threads
        that read are faster, and reading what is cached takes a millisecond. Errors are left to ``read``.
        """
        start, end = self._index.bounds(piece.shard)[[piece.first, piece.end]].tolist()
        with suppress(OSError):
            descriptor = os.open(f"{self._data_set.rec_prefix(piece.shard)}.rec", os.O_RDONLY)
            try:
                for offset in range(start, end, _READ_BYTES):
                    os.pread(descriptor, min(_READ_BYTES, end - offset), offset)
            finally:
                os.close(descriptor)
        self._read_ahead[piece] = None
        if len(self._read_ahead) > _PIECES_REMEMBERED:
            with suppress(KeyError):  # another thread was faster
                self._read_ahead.popitem(last=False)

    def _file(self, shard: int) -> RecFile:
        if shard not in self._open:
            self._open[shard] = RecFile(Path(f"{self._data_set.rec_prefix(shard)}.rec"))
            if len(self._open) > _MAX_OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]


class _DiskIndexes:
    """The index files of a data set on a disk."""

    def __init__(self, data_set: LabelledDataSet, shards: int) -> None:
        self._data_set = data_set
        self.name, self.shards = str(data_set.root.resolve()), shards

    def identity(self) -> bytes:
        """Hashes name, size and time of change of each .idx."""
        digest = hashlib.sha256(str(self.shards).encode())
        folder = self._data_set.rec_prefix(0).parent
        try:
            entries = sorted(
                (entry for entry in os.scandir(folder) if entry.name.endswith(".idx")), key=lambda e: e.name
            )
            for entry in entries:
                status = entry.stat()
                digest.update(f"{entry.name} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n".encode())
        except OSError as error:
            raise OvocrError(f"{folder}: cannot be read: {error.strerror}") from error
        return digest.digest()

    def read(self) -> Iterator[ShardFiles]:
        for shard in range(self.shards):
            prefix = self._data_set.rec_prefix(shard)
            rec_size = RecFile(Path(f"{prefix}.rec")).size()
            name = f"{prefix}.idx"
            try:
                yield ShardFiles(rec_size, Path(name).read_bytes(), name)
            except FileNotFoundError:
                raise RecordError(f"{name}: no such file; create it from the .rec with rebuild_index") from None
            except OSError as error:
                raise RecordError(f"{name}: cannot be read: {error.strerror}") from error
