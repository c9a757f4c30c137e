"""Reading records of a .rec by their byte offsets."""

import mmap
import os
from pathlib import Path
from typing import Any

from ovocr.recordio.format import (
    FIRST,
    HEADER,
    LAST,
    MAGIC,
    MAGIC_BYTES,
    MAX_PAYLOAD_BYTES,
    MIDDLE,
    PART,
    PART_AND_HEADER,
    WHOLE,
    Record,
    RecordError,
    decode_labels,
    padded,
)


class RecFile:
    """The records of one .rec, mapped into memory at the first read. Pickled it is its path alone.

    A mapping is shared by threads and by forked children, and with cached records of 60 kB it is the fastest of what
    was measured: pread of the labels and then of the image took 1.15 times as long, pread of the record and a slice 1.2
    times. Its price: touching bytes behind the end of a file that was cut ends the process with SIGBUS, so the size is
    asked for before every read; what remains is a disk that fails under the mapping. And where the data are not
    cached the kernel reads a neighbourhood of each page it misses; ``prefetch`` first avoids that.
    """

    _view: mmap.mmap | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getstate__(self) -> dict[str, Any]:
        """All but the mapping, which belongs to this process."""
        return {"path": self.path}

    def close(self) -> None:
        """Give the mapping back, once no thread reads through it; the next read maps the file again."""
        self._view = None

    def size(self) -> int:
        """Bytes in the file now. Raises RecordError where there is none."""
        try:
            return os.stat(self.path).st_size
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be opened: {error.strerror}") from error

    def record(self, offset: int) -> Record:
        """The record that starts at ``offset``. Raises RecordError."""
        view = self._view or self._open()
        size = min(view.size(), len(view))
        if offset + PART_AND_HEADER.size <= size:
            magic, length, flag, label, id, _ = PART_AND_HEADER.unpack_from(view, offset)
            start = offset + PART_AND_HEADER.size + 4 * flag
            end = offset + PART.size + length
            if magic == MAGIC and length <= MAX_PAYLOAD_BYTES and start <= end <= size:
                labels = decode_labels(view[offset + PART_AND_HEADER.size : start], label)
                return Record(id, labels, view[start:end])
        return self._record_of_parts(offset)  # several parts, or damage

    def prefetch(self, offset: int, size: int) -> None:
        """Have the kernel read these bytes from the disk without waiting for them."""
        view = self._open()
        start = offset - offset % mmap.PAGESIZE
        view.madvise(mmap.MADV_WILLNEED, start, min(offset + size, len(view)) - start)

    def id(self, offset: int) -> tuple[int, int]:
        """The id of the record that starts at ``offset``, and the offset behind it. Reads headers only.

        Raises RecordError where the record is not complete.
        """
        parts, end = self._parts(offset)
        # The first bytes of each part are enough: the magic may stand in the header itself, but not beyond it.
        beginnings = (self._read(start, min(length, HEADER.size)) for start, length in parts)
        _, _, id = self._header(offset, MAGIC_BYTES.join(beginnings))
        return id, end

    def _record_of_parts(self, offset: int) -> Record:
        """Any record at all, part by part, with every check."""
        parts, _ = self._parts(offset)
        payload = MAGIC_BYTES.join(self._read(start, length) for start, length in parts)
        flag, label, id = self._header(offset, payload)
        image_start = HEADER.size + 4 * flag
        if len(payload) < image_start:
            raise RecordError(
                f"{self.path}: the record at byte {offset} promises {flag} labels, "
                f"but {len(payload) - HEADER.size} bytes follow its header"
            )
        return Record(id, decode_labels(payload[HEADER.size : image_start], label), payload[image_start:])

    def _header(self, offset: int, payload: bytes) -> tuple[int, float, int]:
        if len(payload) < HEADER.size:
            raise RecordError(
                f"{self.path}: the record at byte {offset} has {len(payload)} bytes, "
                f"fewer than its header's {HEADER.size}"
            )
        flag, label, id, _ = HEADER.unpack_from(payload)
        return flag, label, id

    def _parts(self, offset: int) -> tuple[list[tuple[int, int]], int]:
        """Start and length of the data of each part of a record, and the offset behind the record."""
        parts = []
        at, file_size, allowed = offset, self._open().size(), (WHOLE, FIRST)
        while True:
            data = self._read(at, PART.size)
            if len(data) < PART.size:
                raise RecordError(f"{self.path}: cut at byte {at + len(data)}, inside the record at byte {offset}")
            magic, word = PART.unpack(data)
            if magic != MAGIC:
                raise RecordError(f"{self.path}: no record at byte {at}: {magic:#010x} is not the magic {MAGIC:#010x}")
            kind, length = word >> 29, word & MAX_PAYLOAD_BYTES
            if kind not in allowed:
                raise RecordError(
                    f"{self.path}: continuation flag {kind} at byte {at}, where {allowed[0]} or {allowed[1]} must be"
                )
            start = at + PART.size
            at = start + padded(length)
            if at > file_size:
                raise RecordError(
                    f"{self.path}: cut at byte {file_size}: the record at byte {offset} goes on to byte {at}"
                )
            parts.append((start, length))
            if kind in (WHOLE, LAST):
                return parts, at
            allowed = (MIDDLE, LAST)

    def _read(self, offset: int, size: int) -> bytes:
        """``size`` bytes, fewer only at the end of the file."""
        view = self._open()
        return view[offset : min(offset + size, view.size())]

    def _open(self) -> mmap.mmap:
        view = self._view
        if view is None:
            try:
                with open(self.path, "rb") as file:
                    view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise RecordError(f"{self.path}: cannot be opened: {error.strerror}") from error
            except ValueError as error:
                raise RecordError(f"{self.path}: cut at byte 0: {error}") from error
            self._view = view
        return view
