"""Changes of a .rec and its .idx that keep most of their structure."""

import struct
from random import Random

from ovocr.recordio.format import MAGIC, MAGIC_BYTES, PART, padded
from tests.faults.parsers import bundle
from tests.faults.parsers.mutate_bytes import mutate as mutate_bytes
from tests.faults.parsers.mutate_bytes import number

_TOKENS = (
    MAGIC_BYTES,
    bytes(4),
    b"\xff" * 4,
    PART.pack(MAGIC, 0),
    PART.pack(MAGIC, 1 << 29),
    PART.pack(MAGIC, 3 << 29),
)


def mutate(data: bytes, random: Random) -> bytes:
    """Returns an input in which the .rec, the .idx, both or the mapped file have changed."""
    rec, idx, mapped = bundle.split(data, 3)
    kind = random.randrange(10)
    if kind < 5:
        rec = _mutate_rec(rec, random)
        if random.random() < 0.5:
            idx = _index_of(rec)
    elif kind < 8:
        idx = _mutate_idx(idx, random)
    elif kind < 9:
        mapped = mutate_bytes(mapped, random)
    else:
        rec, idx = mutate_bytes(rec, random, _TOKENS), mutate_bytes(idx, random, (b"\t", b"\n", b"\r", b"\x0b", b"-1"))
    return bundle.join(rec, idx, mapped)


def _parts(rec: bytes) -> list[bytes]:
    """Splits a .rec into its parts, as far as they are whole; the rest is the last one."""
    parts, at = [], 0
    while at + PART.size <= len(rec):
        magic, word = PART.unpack_from(rec, at)
        end = at + PART.size + padded(word & (2**29 - 1))
        if magic != MAGIC or end > len(rec):
            break
        parts.append(rec[at:end])
        at = end
    return [*parts, rec[at:]] if at < len(rec) or not parts else parts


def _mutate_rec(rec: bytes, random: Random) -> bytes:
    parts = _parts(rec)
    at = random.randrange(len(parts))
    part, kind = parts[at], random.randrange(8)
    if kind == 0:
        parts.pop(at)
    elif kind == 1:
        parts.insert(random.randrange(len(parts) + 1), part)
    elif kind == 2 and len(part) >= PART.size:  # the continuation flag
        word = PART.unpack_from(part)[1]
        parts[at] = PART.pack(MAGIC, (random.randrange(8) << 29) | (word & (2**29 - 1))) + part[PART.size :]
    elif kind == 3 and len(part) >= PART.size:  # the length
        word = PART.unpack_from(part)[1]
        length = random.choice([number(random) % 2**29, max(0, (word & (2**29 - 1)) + random.randrange(-5, 6))])
        parts[at] = PART.pack(MAGIC, (word & ~(2**29 - 1)) | length) + part[PART.size :]
    elif kind == 4 and len(part) >= PART.size + 4:  # the number of labels, the label or the id
        offset, format = random.choice([(0, "<I"), (4, "<I"), (8, "<Q"), (16, "<Q")])
        value = struct.pack(
            format, random.choice([number(random), random.randrange(8)]) % 2 ** (8 * struct.calcsize(format))
        )
        start = PART.size + offset
        parts[at] = part[:start] + value + part[start + len(value) :]
    else:  # the content, with a length that fits
        flag = PART.unpack_from(part.ljust(PART.size, b"\0"))[1] >> 29
        content = mutate_bytes(part[PART.size :], random, _TOKENS)
        parts[at] = PART.pack(MAGIC, (flag << 29) | len(content)) + content + bytes(-len(content) % 4)
    return b"".join(parts)


def _index_of(rec: bytes) -> bytes:
    """Returns an index whose lines fit the records, as far as they have a header."""
    lines, at = [], 0
    for part in _parts(rec):
        if len(part) >= PART.size + 16 and PART.unpack_from(part)[1] >> 29 in (0, 1):
            lines.append(b"%d\t%d\n" % (struct.unpack_from("<Q", part, PART.size + 8)[0], at))
        at += len(part)
    return b"".join(lines)


def _mutate_idx(idx: bytes, random: Random) -> bytes:
    lines = idx.splitlines(keepends=True) or [b"0\t0\n"]
    at, kind = random.randrange(len(lines)), random.randrange(7)
    fields = lines[at].split(b"\t")
    if kind == 0:
        lines.pop(at)
    elif kind == 1:
        lines.insert(random.randrange(len(lines) + 1), lines[at])
    elif kind == 2:
        random.shuffle(lines)
    elif kind == 3:
        fields[random.randrange(len(fields))] = b"%d" % number(random)
        lines[at] = b"\t".join(fields) + random.choice([b"\n", b"", b"\r\n"])
    elif kind == 4:
        fields[-1] = b"%d\n" % max(
            0, int(fields[-1].strip() or b"0" if fields[-1].strip().isdigit() else b"0") + random.choice([-4, 4, 1, 8])
        )
        lines[at] = b"\t".join(fields)
    elif kind == 5:
        lines[at] = random.choice(
            [
                b"0" * random.choice([1, 17, 18, 19, 20, 21, 5000]) + lines[at],
                b"\n",
                b"\x85" + lines[at],
                lines[at].replace(b"\n", b"\x0b\n"),
            ]
        )
    else:
        return mutate_bytes(idx, random, (b"\t", b"\n", b"\r", b"\x0b", b"-1", b" "))
    return b"".join(lines)
