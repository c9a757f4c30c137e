"""Reads records of a .rec by their byte offsets."""

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
    """The records of a .rec, mapped into memory at the first read. Pickling keeps only the path.

    Threads and forked children share a mapping, and for cached records of 60 kB it was the fastest option measured:
    pread of the labels and then the image took 1.15 times as long, pread of the record and slicing 1.2 times.
    Disadvantages: reading beyond the end of a truncated file kills the process with SIGBUS, so the size is checked
    before every read (a disk that fails under the mapping remains a risk); and if the data are not cached, the kernel
    reads around each page it misses, which ``prefetch`` avoids.
    """

    _view: mmap.mmap | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getstate__(self) -> dict[str, Any]:
        """Returns everything except the mapping, which belongs to this process."""
        return {"path": self.path}

    def close(self) -> None:
        """Releases the mapping once no thread reads through it; the next read maps the file again."""
        self._view = None

    def size(self) -> int:
        """Returns the current file size in bytes. Raises RecordError if the file does not exist."""
        try:
            return os.stat(self.path).st_size
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be opened: {error.strerror}") from error

    def record(self, offset: int) -> Record:
        """Returns the record that starts at ``offset``. Raises RecordError."""
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
        """Asks the kernel to read these bytes from disk without waiting for them."""
        view = self._open()
        start = offset - offset % mmap.PAGESIZE
        view.madvise(mmap.MADV_WILLNEED, start, min(offset + size, len(view)) - start)

    def id(self, offset: int) -> tuple[int, int]:
        """Returns the id of the record that starts at ``offset``, and the offset of its end. Reads headers only.

        Raises RecordError if the record is incomplete.
        """
        parts, end = self._parts(offset)
        # The first bytes of each part suffice: the header may itself be split at a magic.
        beginnings = (self._read(start, min(length, HEADER.size)) for start, length in parts)
        _, _, id = self._header(offset, MAGIC_BYTES.join(beginnings))
        return id, end

    def _record_of_parts(self, offset: int) -> Record:
        """Reads a record part by part, with every check."""
        parts, _ = self._parts(offset)
        payload = MAGIC_BYTES.join(self._read(start, length) for start, length in parts)
        flag, label, id = self._header(offset, payload)
        image_start = HEADER.size + 4 * flag
        if len(payload) < image_start:
            raise RecordError(
                f"{self.path}: the record at byte {offset} declares {flag} labels, "
                f"but only {len(payload) - HEADER.size} bytes follow its header"
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
        """Returns start and length of each part's data, and the offset of the record's end."""
        parts = []
        at, file_size, allowed = offset, self._open().size(), (WHOLE, FIRST)
        while True:
            data = self._read(at, PART.size)
            if len(data) < PART.size:
                raise RecordError(
                    f"{self.path}: truncated at byte {at + len(data)}, inside the record at byte {offset}"
                )
            magic, word = PART.unpack(data)
            if magic != MAGIC:
                raise RecordError(f"{self.path}: no record at byte {at}: {magic:#010x} is not the magic {MAGIC:#010x}")
            kind, length = word >> 29, word & MAX_PAYLOAD_BYTES
            if kind not in allowed:
                raise RecordError(
                    f"{self.path}: continuation flag {kind} at byte {at} must be {allowed[0]} or {allowed[1]}"
                )
            start = at + PART.size
            at = start + padded(length)
            if at > file_size:
                raise RecordError(
                    f"{self.path}: truncated at byte {file_size}: the record at byte {offset} ends at byte {at}"
                )
            parts.append((start, length))
            if kind in (WHOLE, LAST):
                return parts, at
            allowed = (MIDDLE, LAST)

    def _read(self, offset: int, size: int) -> bytes:
        """Returns ``size`` bytes, or fewer at the end of the file."""
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
                raise RecordError(f"{self.path}: truncated at byte 0: {error}") from error
            self._view = view
        return view
