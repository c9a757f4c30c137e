"""Limits on the headers that tarfile reads for one member: archives come from strangers and may claim any size."""

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

# A path has some thousand bytes, extended attributes may have some hundred thousand.
MAX_HEADER_BYTES = 2**20
# tarfile recurses for a header that announces another one. Each takes two reads.
MAX_HEADER_READS = 200
# Python before 3.12.6 parses a number in time quadratic in its length (CVE-2024-6232).
_LONG_NUMBER = re.compile(rb"[0-9]{1000}")


class HeaderReader:
    """A file that tarfile reads headers from inside ``bounded``, and the data of members outside.

    Inside, ``read`` raises tarfile.ReadError if the headers of a member take more than MAX_HEADER_BYTES or more than
    MAX_HEADER_READS reads, or contain a number of a thousand digits.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left: int | None = None
        self._reads = 0
        self.seek, self.tell = file.seek, file.tell

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Applies the limits inside the block, which reads the headers of one member."""
        self._left, self._reads = MAX_HEADER_BYTES, 0
        try:
            yield
        finally:
            self._left = None

    def read(self, size: int = -1) -> bytes:
        """Reads as a file does. Raises tarfile.ReadError if a limit is exceeded."""
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
