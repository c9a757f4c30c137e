"""Writes a shard."""

import io
import operator
import os
from contextlib import ExitStack
from types import TracebackType

import numpy.typing as npt

from ovocr.base.files import written_aside
from ovocr.recordio.format import MAX_RECORD_ID, RecordError, encode_record, shard_paths
from ovocr.recordio.index import format_index

# Bytes per system call: one call per record takes 1.2 times as long, larger calls gain nothing.
_FLUSH_BYTES = 256 * 1024
_FLUSH_PIECES = 1000  # writev accepts up to 1024


class RecordWriter:
    """Writes PREFIX.rec and PREFIX.idx; both appear, in this order, only when everything is written and on disk.

    As a context manager it closes at the end of the block, or removes its files if the block raises. Until then the
    records are in PREFIX.rec.partial. Creates missing folders. Raises OSError like a file.
    """

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self._rec_path, self._idx_path = shard_paths(prefix)
        # Closed in reverse order: the .rec is published before the .idx.
        self._files = ExitStack()
        self._idx_partial = self._files.enter_context(written_aside(self._idx_path))
        rec_partial = self._files.enter_context(written_aside(self._rec_path))
        self._rec = self._files.enter_context(io.FileIO(rec_partial, "w"))
        self._offsets: dict[int, int] = {}  # id -> byte offset, in the order of writing
        self._end = 0
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0

    def __enter__(self) -> "RecordWriter":
        """Returns the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes after a successful block; otherwise removes everything written."""
        if error is None:
            self.close()
        else:
            self._files.__exit__(kind, error, trace)

    def __len__(self) -> int:
        """Returns the number of records written so far."""
        return len(self._offsets)

    def write(self, id: int, labels: npt.ArrayLike, image: bytes | bytearray | memoryview) -> None:
        """Appends one record.

        id: unique in the file, 0 to 2**64 - 1.
        labels: class ids, integers from 0 to 2**24: an array [T] with T >= 1, or a single number, which is stored in
            the header as by mxnet's ``pack`` (flag 0) and read back as [1].
        image: the encoded image.

        Raises RecordError if a value is not allowed or the record would have 2**29 bytes or more; the writer is then
        unchanged.
        """
        if self._rec.closed:
            raise ValueError(f"{self._rec_path}: the writer is closed")
        id = operator.index(id)
        if not 0 <= id <= MAX_RECORD_ID:
            raise RecordError(f"{self._rec_path}: record id {id} is not from 0 to 2**64 - 1")
        if id in self._offsets:
            raise RecordError(f"{self._rec_path}: record id {id} was already written, at byte {self._offsets[id]}")
        if not isinstance(image, bytes):
            image = bytes(memoryview(image))
        try:
            pieces = encode_record(id, labels, image)
        except RecordError as error:
            raise RecordError(f"{self._rec_path}: record {id}: {error}") from None
        size = sum(map(len, pieces))
        self._offsets[id] = self._end
        self._end += size
        self._pending += pieces
        self._pending_bytes += size
        if self._pending_bytes >= _FLUSH_BYTES or len(self._pending) >= _FLUSH_PIECES:
            self._flush()

    def close(self) -> None:
        """Flushes both files to disk and gives them their final names; a second call does nothing."""
        if self._rec.closed:
            return
        with self._files:
            self._flush()
            self._idx_partial.write_bytes(format_index(self._offsets))
            # If the process is killed between the two renames, the new .rec must not be paired with an old .idx.
            self._idx_path.unlink(missing_ok=True)

    def _flush(self) -> None:
        while self._pending:
            written = os.writev(self._rec.fileno(), self._pending)
            self._pending_bytes -= written
            if self._pending_bytes == 0:
                self._pending = []
            else:  # a nearly full disk, or a signal: continue with the remaining bytes
                self._pending = [memoryview(b"".join(self._pending))[written:]]
