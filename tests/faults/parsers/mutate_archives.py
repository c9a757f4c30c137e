"""Changes of tars and zips that repair checksums and compress again, so that they reach what is behind them."""

import bz2
import gzip
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable
from random import Random

import pyarrow as pa

from tests.faults.parsers.mutate_bytes import MOST_BYTES, number
from tests.faults.parsers.mutate_bytes import mutate as mutate_bytes

BLOCK = tarfile.BLOCKSIZE
# Offset and length of the fields of a tar's header.
_FIELDS = [(0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (124, 12), (124, 12), (136, 12), (156, 1), (156, 1)]
_FIELDS += [(157, 100), (257, 8), (265, 32), (329, 8), (337, 8), (345, 155), (386, 12), (398, 12), (482, 1), (483, 12)]
_KINDS = [b"0", b"1", b"2", b"3", b"5", b"7", b"L", b"K", b"S", b"x", b"g", b"X", b"\0", b"V", b"M", b"D", b"N"]
_KEYS = ["size", "path", "linkpath", "mtime", "uid", "hdrcharset", "comment", "charset", "GNU.sparse.major"]
_KEYS += [
    f"GNU.sparse.{key}" for key in ("minor", "name", "realsize", "size", "map", "numblocks", "offset", "numbytes")
]
_VALUES = ["0", "1", "-1", "63", "512", "1048577", "9" * 30, "1e5", "nan", "inf", "0,1", "0,1,2", "-5,-5", "", " 7"]
_VALUES += [
    "BINARY",
    "utf-8",
    "x.jpg",
    "../x.jpg",
    "a\0.jpg",
    "1,",
    ",",
    "1_0",
    "0x10",
    "\u0663",
    "9" * 400,
    "0," * 300 + "0",
]
_ZIP_TOKENS = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"\1\0\x10\0", b"up\x05\0", b".jpg")
_ZIP_FIELDS = {b"PK\1\2": 46, b"PK\3\4": 30, b"PK\5\6": 22, b"PK\6\6": 56, b"PK\6\7": 20}


def _gunzip(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data, MOST_BYTES)


def _unzstd(data: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return bytes(stream.read(MOST_BYTES))


_COMPRESSIONS: list[tuple[bytes, Callable[[bytes], bytes], Callable[[bytes], bytes]]] = [
    (b"\x1f\x8b", _gunzip, gzip.compress),
    (b"BZh", lambda data: bz2.BZ2Decompressor().decompress(data, MOST_BYTES), bz2.compress),
    (b"\xfd7zXZ", lambda data: lzma.LZMADecompressor(memlimit=2**27).decompress(data, MOST_BYTES), lzma.compress),
    (b"\x28\xb5\x2f\xfd", _unzstd, lambda data: pa.compress(data, "zstd", asbytes=True)),
]


def mutate(data: bytes, random: Random) -> bytes:
    """Returns a changed archive, or one of the other kind."""
    kind, data = data[:1], data[1:]
    if random.random() < 0.01:
        kind = b"t" if kind == b"z" else b"z"
    changed = _mutate_zip(data, random) if kind == b"z" else _mutate_tar(data, random)
    return kind + changed[:MOST_BYTES]


def _mutate_tar(data: bytes, random: Random) -> bytes:
    for magic, decompress, compress in _COMPRESSIONS:
        if data.startswith(magic):
            if random.random() < 0.5:
                return _mutate_xz(data, random) if magic[0] == 0xFD else mutate_bytes(data, random)
            try:
                return compress(_mutate_plain(decompress(data), random))
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, pa.ArrowException):
                return mutate_bytes(data, random)
    if random.random() < 0.03:
        return random.choice(_COMPRESSIONS)[2](data)
    return _mutate_plain(data, random)


def _mutate_xz(data: bytes, random: Random) -> bytes:
    """Changes an .xz, and repairs the checksum of its first block's header: the size of the dictionary is in it."""
    at = random.choice([12, 13, 14, 15, 16, 17, 18, 19])
    data = data[:at] + bytes([random.choice([0, 1, 0x21, 40, 41, random.randrange(256)])]) + data[at + 1 :]
    end = 12 + data[12] * 4 if len(data) > 12 else 0
    return data[:end] + struct.pack("<I", zlib.crc32(data[12:end])) + data[end + 4 :]


def _headers(data: bytes) -> list[int]:
    """Returns the offsets of the blocks that are headers, by their checksums."""
    found = []
    for at in range(0, len(data) - BLOCK + 1, BLOCK):
        block = data[at : at + BLOCK]
        if block[148:154].strip(b" \0").isdigit() and any(block):
            found.append(at)
    return found


def _with_checksum(block: bytes) -> bytes:
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    return block[:148] + b"%06o\0 " % total + block[156:]


def _mutate_plain(data: bytes, random: Random) -> bytes:
    headers = _headers(data)
    kind = random.randrange(10)
    if not headers or kind == 0:
        return mutate_bytes(data, random, (bytes(BLOCK), b"\0", b"\n", b"="))
    at = random.choice(headers)
    block = data[at : at + BLOCK]
    if kind < 5:
        start, length = random.choice(_FIELDS)
        block = block[:start] + _field(length, random) + block[start + length :]
        return data[:at] + (_with_checksum(block) if random.random() < 0.95 else block) + data[at + BLOCK :]
    if kind == 5:  # a member more, fewer or elsewhere
        ends = [*(each for each in headers if each > at), len(data)]
        member = data[at : ends[0]]
        rest = data[:at] + data[ends[0] :]
        to = random.choice([*_headers(rest), 0])
        return random.choice(
            [rest, rest[:to] + member + rest[to:], data[:at] + member * random.choice([2, 120]) + data[at:]]
        )
    if kind < 9:  # a pax header before a member
        records = b"".join(_record(random) for _ in range(random.choice([1, 1, 2, 4])))
        info = tarfile.TarInfo("pax")
        info.size, info.type = (
            len(records),
            random.choice([tarfile.XHDTYPE] * 4 + [tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE]),
        )
        return data[:at] + info.tobuf(tarfile.GNU_FORMAT) + records + bytes(-len(records) % BLOCK) + data[at:]
    start = at + BLOCK
    body = mutate_bytes(data[start : start + BLOCK], random, (b"\n", b"=", b"0", b"9" * 20, b","))
    return data[:start] + body.ljust(BLOCK, b"\0")[:BLOCK] + data[start + BLOCK :]


def _field(length: int, random: Random) -> bytes:
    if length == 1:
        return random.choice([*_KINDS, bytes([random.randrange(256)])])
    value = number(random)
    choices = [b"%o\0" % value, b"%o" % value, b"\x80" + value.to_bytes(9, "big").rjust(length - 1, b"\0")]
    choices += [
        b"\xff" * (length - 1) + bytes([random.randrange(256)]),
        b"\xff" + random.randbytes(length - 1),
        b" " * length,
    ]
    choices += [
        b"-1",
        b"8",
        b"0x1",
        b"ustar\x0000",
        b"ustar  \0",
        b"\xff\xfe.jpg",
        b"a/" * 60,
        b"GNUSparseFile.0/x.jpg",
        b"",
    ]
    return random.choice(choices)[:length].ljust(length, b"\0")


def _record(random: Random) -> bytes:
    rest = f" {random.choice(_KEYS)}={random.choice([*_VALUES, str(number(random))])}\n".encode()
    length = len(rest) + len(str(len(rest) + 2))
    if random.random() < 0.1:
        length = random.choice([0, 1, 2, 5, number(random), -1])
    return str(length).encode() + rest


def _mutate_zip(data: bytes, random: Random) -> bytes:
    kind = random.randrange(10)
    found = [(at, sign) for sign in _ZIP_FIELDS for at in _find_all(data, sign)]
    if not found or kind == 0:
        return mutate_bytes(data, random, _ZIP_TOKENS)
    at, sign = random.choice(found)
    if kind < 6:  # a field of a header
        width = random.choice([1, 2, 4, 4, 8])
        start = at + 4 + random.randrange(0, _ZIP_FIELDS[sign] - 4, 2)
        old = int.from_bytes(data[start : start + width], "little")
        value = random.choice([number(random), max(0, old + random.choice([-1, 1, 4, 30])), at, len(data)]) % 256**width
        return data[:start] + value.to_bytes(width, "little") + data[start + width :]
    if kind == 6:  # an extra field in the list of members, which moves its end
        if sign != b"PK\1\2":
            return mutate_bytes(data, random, _ZIP_TOKENS)
        name, extra = struct.unpack_from("<HH", data.ljust(at + 46, b"\0"), at + 28)
        length = random.choice([0, 4, 8, 16, 24, 28])
        field = struct.pack(
            "<HH", random.choice([1, 1, 1, 0x7075, 10]), random.choice([length, number(random) % 65536])
        )
        field += b"".join(struct.pack("<Q", number(random) % 2**64) for _ in range(4))[:length]
        head = data[: at + 30] + struct.pack("<H", (extra + len(field)) % 65536) + data[at + 32 : at + 46 + name]
        head = head[: at + 20] + random.choice([head[at + 20 : at + 28], b"\xff" * 8]) + head[at + 28 :]
        data = head + field + data[at + 46 + name :]
        end = data.rfind(b"PK\5\6")
        size = struct.unpack_from("<I", data.ljust(end + 22, b"\0"), end + 12)[0] + len(field)
        return data[: end + 12] + struct.pack("<I", size % 2**32) + data[end + 16 :]
    start = at + _ZIP_FIELDS[sign]
    body = mutate_bytes(data[start : start + 64], random, _ZIP_TOKENS)
    return data[:start] + (body.ljust(64, b"\0")[:64] if random.random() < 0.8 else body) + data[start + 64 :]


def _find_all(data: bytes, sign: bytes) -> list[int]:
    found, at = [], data.find(sign)
    while at >= 0:
        found.append(at)
        at = data.find(sign, at + 1)
    return found
