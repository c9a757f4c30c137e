"""Several files as the bytes of one input: each is its length, 4 bytes, and its content."""

import struct

_LENGTH = struct.Struct("<I")


def join(*files: bytes) -> bytes:
    """Returns the bytes of an input with these files."""
    return b"".join(_LENGTH.pack(len(file)) + file for file in files)


def split(data: bytes, count: int) -> list[bytes]:
    """Returns ``count`` files from any bytes; those that are missing are empty."""
    files = []
    for _ in range(count):
        length = _LENGTH.unpack(data[:4].ljust(4, b"\0"))[0]
        files.append(data[4 : 4 + length])
        data = data[4 + length :]
    return files
