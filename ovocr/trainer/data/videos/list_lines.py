"""Random access to the lines of a large text file, with an index of every 64th line."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ovocr.base.errors import OvocrError

_STRIDE = 64  # for 70 million lines the index needs 17 MB, and a lookup about 30 microseconds
_CHUNK = 1 << 23  # bytes scanned together
_BOM = b"\xef\xbb\xbf"


class ListLines:
    """The lines that are neither blank nor start with #, numbered from 0; the file is mapped into memory.

    Pickling keeps the path and the index and reopens the file. Raises OvocrError naming the file if it cannot be read
    or has no lines, and later if it has changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data: mmap.mmap | None = None
        self._state = self._read_state()
        if self._state[0] == 0:
            raise OvocrError(f"{path}: an empty file")
        offsets, numbers, self._count = _index(self._mapped())
        if not self._count:
            raise OvocrError(f"{path}: contains only blank lines and comments")
        self._offsets, self._numbers = np.concatenate(offsets), np.concatenate(numbers)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[int, bytes]:
        """Returns a line's number in the file, from 1, and its text without the line end. Raises IndexError."""
        if not 0 <= index < self._count:
            raise IndexError(f"line {index} of {self._count}")
        block, place = divmod(index, _STRIDE)
        lines = _lines(self._mapped(), int(self._offsets[block]), int(self._numbers[block]))
        for _ in range(place):
            next(lines)
        return next(lines)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return _lines(self._mapped(), int(self._offsets[0]), int(self._numbers[0]))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_data": None}

    def _mapped(self) -> mmap.mmap:
        if self._data is None:
            if self._read_state() != self._state:
                raise OvocrError(f"{self.path}: changed since the start; start the command again")
            with self.path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._data

    def _read_state(self) -> tuple[int, int]:
        """Returns the file's size and modification time."""
        try:
            with self.path.open("rb"):  # reports missing permission now
                state = self.path.stat()
        except FileNotFoundError:
            raise OvocrError(f"{self.path}: no such file") from None
        except OSError as error:
            raise OvocrError(f"{self.path}: cannot be read: {error.strerror}") from error
        return state.st_size, state.st_mtime_ns


def _index(data: mmap.mmap) -> tuple[list[Any], list[Any], int]:
    """Returns offsets and numbers of every _STRIDE-th entry, as int64 arrays by chunk, and the number of entries."""
    offsets, numbers, count, number = [], [], 0, 1
    at = len(_BOM) if data[: len(_BOM)] == _BOM else 0
    while at < len(data):
        end = data.find(b"\n", min(at + _CHUNK, len(data)) - 1) + 1 or len(data)
        text = data[at:end]
        chunk = np.frombuffer(text, np.uint8)
        starts = np.concatenate([[0], np.flatnonzero(chunk == ord("\n")) + 1])
        starts = starts[starts < len(chunk)]
        first = chunk[starts]
        entry = (first != ord("#")) & (first != ord("\n"))
        for line in np.flatnonzero(entry & (first <= ord(" "))):  # rare: may contain only spaces
            entry[line] = _is_entry(text[starts[line] : text.find(b"\n", starts[line]) + 1 or None])
        lines = np.flatnonzero(entry)
        indexed = lines[-count % _STRIDE :: _STRIDE]
        offsets.append(at + starts[indexed])
        numbers.append(number + indexed)
        at, count, number = end, count + len(lines), number + len(starts)
    return offsets, numbers, count


def _lines(data: mmap.mmap, at: int, number: int) -> Iterator[tuple[int, bytes]]:
    """Yields the entries from an offset on, with their line numbers."""
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        line = data[at:end]
        if _is_entry(line):
            yield number, line.rstrip(b"\r\n")
        at, number = end, number + 1


def _is_entry(line: bytes) -> bool:
    return not line.isspace() and not line.lstrip().startswith(b"#")
