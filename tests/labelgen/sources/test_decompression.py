"""Compressed archives: .xz with several streams, with padding, damaged, or with a dictionary of gigabytes."""

import io
import lzma
import struct
import zlib

import pytest

from ovocr.labelgen.sources.archives.decompression import DecompressionError, decompressed

ONE, TWO = b"one" * 100_000, b"two" * 1000


def read(data: bytes) -> bytes:
    with decompressed(io.BytesIO(data)) as (content, compression):
        assert compression == "xz"
        return content.read(10**6)


def with_dictionary(data: bytes, size: int) -> bytes:
    """Returns an .xz whose first block claims a dictionary: the byte 40 means 4 GiB."""
    head = bytearray(data[12 : 12 + 4 * data[12]])
    head[head.index(b"\x21\x01") + 2] = size
    return data[:12] + head + struct.pack("<I", zlib.crc32(head)) + data[16 + 4 * data[12] :]


@pytest.mark.parametrize("padding", [0, 4, 2**21])
def test_all_streams_are_read(padding: int) -> None:
    assert read(lzma.compress(ONE) + bytes(padding) + lzma.compress(TWO) + bytes(padding)) == ONE + TWO


def test_a_dictionary_of_64_mib_is_read() -> None:
    assert read(lzma.compress(ONE, preset=9)) == ONE


def test_a_dictionary_of_gigabytes_is_refused() -> None:
    intact = lzma.compress(ONE)
    assert read(with_dictionary(intact, 24)) == ONE
    with pytest.raises(DecompressionError, match="it takes more than 128 MiB of memory"):
        read(with_dictionary(intact, 40))


@pytest.mark.parametrize(
    "data",
    [
        lzma.compress(ONE)[:-1],
        lzma.compress(ONE)[:50],
        lzma.compress(ONE) + b"junk",
        lzma.compress(ONE) + lzma.compress(TWO)[:-1],
        lzma.compress(ONE) + b"\xfd7zXZ\0" + bytes(range(40)),
    ],
)
def test_damage_is_found(data: bytes) -> None:
    with pytest.raises(DecompressionError, match="the compressed data is damaged"):
        read(data)
