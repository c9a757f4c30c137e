"""Compressed archives, read from front to back without a temporary file."""

import bz2
import errno
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import pyarrow as pa

_START_BYTES = 10
_CHUNK = 2**20
# What the dictionary of an .xz may take, which its header sets to up to 4 GB. xz -9 needs half of it.
_XZ_MEMORY = 128 * 2**20
# tarfile goes back by at most two blocks: to the last byte of a member, and to a header that was read.
_KEPT = 2**16
_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException)


class DecompressionError(ValueError):
    """The compressed data is damaged, or something in it points backwards."""


def _gzip(file: IO[bytes]) -> Any:
    return gzip.GzipFile(fileobj=file)


def _zstd(file: IO[bytes]) -> Any:
    return pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")


class _XzStream:
    """The content of an .xz file, as lzma.open returns it, but with a limit on memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = _xz_decoder()

    def __enter__(self) -> "_XzStream":
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves the file open."""

    def read(self, size: int) -> bytes:
        """Returns at most ``size`` bytes; none at the end. Raises EOFError and lzma.LZMAError."""
        data = b""
        while not data:
            if self._decoder.eof:  # another stream may follow, after zeros
                part = self._decoder.unused_data.lstrip(b"\0")
                while not part:
                    if not (more := self._file.read(_CHUNK)):
                        return b""
                    part = more.lstrip(b"\0")
                self._decoder = _xz_decoder()
            else:
                part = self._file.read(_CHUNK) if self._decoder.needs_input else b""
                if self._decoder.needs_input and not part:
                    raise EOFError("the file ends before the end of the compressed data")
            try:
                data = self._decoder.decompress(part, size)
            except lzma.LZMAError as error:
                if "Memory" not in str(error):
                    raise
                raise lzma.LZMAError(f"it takes more than {_XZ_MEMORY // 2**20} MiB of memory") from error
        return data


def _xz_decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


_FORMATS: dict[str, tuple[re.Pattern[bytes], Callable[[IO[bytes]], Any]]] = {
    "gzip": (re.compile(rb"\x1f\x8b\x08"), _gzip),
    "bzip2": (re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"), bz2.open),
    "xz": (re.compile(rb"\xfd7zXZ\0"), _XzStream),
    "zstd": (re.compile(rb"\x28\xb5\x2f\xfd"), _zstd),
}


@contextmanager
def decompressed(file: IO[bytes]) -> Iterator[tuple[IO[bytes], str | None]]:
    """Yields the content of a file at its start, and the name of its compression, which its first bytes show.

    A file that is not compressed is yielded itself, with None. A compressed one raises DecompressionError if it is
    damaged, or for a jump backwards.
    """
    start = file.read(_START_BYTES)
    file.seek(0)
    for name, (magic, open_format) in _FORMATS.items():
        if magic.match(start):
            with open_format(file) as content:
                yield cast(IO[bytes], ForwardReader(content)), name
            return
    yield file, None


class ForwardReader:
    """A file with ``seek`` over a stream that can only be read forward. The last _KEPT bytes can be read again.

    Raises DecompressionError.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._kept = b""  # the bytes before _end
        self._end = 0  # number of bytes read from the stream
        self._at = 0

    def tell(self) -> int:
        """Returns the position in the decompressed data."""
        return self._at

    def seek(self, position: int) -> int:
        """Goes to a position, or to the end if the data ends before it."""
        if position < self._end - len(self._kept):
            raise DecompressionError("a header points backwards")
        while self._end < position and self._pull(min(_CHUNK, position - self._end)):
            pass
        self._at = min(position, self._end)
        return self._at

    def read(self, size: int) -> bytes:
        """Returns ``size`` bytes, or less at the end."""
        parts = [self._kept[len(self._kept) - (self._end - self._at) :][:size] if self._at < self._end else b""]
        self._at += len(parts[0])
        missing = size - len(parts[0])
        while missing and (part := self._pull(min(_CHUNK, missing))):
            parts.append(part)
            missing -= len(part)
            self._at = self._end
        return b"".join(parts)

    def _pull(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except _ERRORS as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            raise DecompressionError(f"the compressed data is damaged ({error})") from error
        self._kept = (self._kept + data)[-_KEPT:]
        self._end += len(data)
        return data
