"""Bounds on what tarfile takes in for the headers of one member: they come from strangers, and so do their sizes."""

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

# A path has some thousand bytes, extended attributes may have some hundred thousand.
MAX_HEADER_BYTES = 2**20
# Tarfile calls itself for a header that announces another one, which takes two reads.
MAX_HEADER_READS = 200
# Python before 3.12.6 takes a time that grows with the square of the length of a number (CVE-2024-6232).
_LONG_NUMBER = re.compile(rb"[0-9]{1000}")


class HeaderReader:
    """A file for tarfile, which reads headers inside ``bounded`` and the data of members outside.

    Inside, ``read`` raises tarfile.ReadError where the headers of a member are more than MAX_HEADER_BYTES, more than
    MAX_HEADER_READS blocks that announce each other, or hold a number that no program writes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left: int | None = None
        self._reads = 0
        self.seek, self.tell = file.seek, file.tell

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """The block reads the headers of one member."""
        self._left, self._reads = MAX_HEADER_BYTES, 0
        try:
            yield
        finally:
            self._left = None

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        if self._left is None:
            return self._file.read(size)
        if not 0 <= size <= self._left:
            raise tarfile.ReadError(f"a header of more than {MAX_HEADER_BYTES} bytes")
        if self._reads == MAX_HEADER_READS:
            raise tarfile.ReadError("too many headers for one member")
        self._left -= size
        self._reads += 1
        data = self._file.read(size)
        if _LONG_NUMBER.search(data):
            raise tarfile.ReadError("a header with a number of a thousand digits")
        return data
