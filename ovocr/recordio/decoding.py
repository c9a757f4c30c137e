"""Decodes the bytes of one record that were read from somewhere else than a file on a disk."""

from ovocr.recordio.format import (
    FIRST,
    HEADER,
    LAST,
    MAGIC,
    MAGIC_BYTES,
    MAX_PAYLOAD_BYTES,
    MIDDLE,
    PART,
    WHOLE,
    Record,
    RecordError,
    decode_labels,
    padded,
)


def decode_record(data: bytes) -> Record:
    """Returns the record that takes exactly these bytes.

    Raises RecordError, without naming the record, if they are not those of one record.
    """
    payload = _join_parts(data)
    if len(payload) < HEADER.size:
        raise RecordError(f"{len(payload)} bytes, fewer than its header's {HEADER.size}")
    flag, label, id, _ = HEADER.unpack_from(payload)
    image_start = HEADER.size + 4 * flag
    if len(payload) < image_start:
        raise RecordError(f"declares {flag} labels, but only {len(payload) - HEADER.size} bytes follow its header")
    return Record(id, decode_labels(payload[HEADER.size : image_start], label), payload[image_start:])


def _join_parts(data: bytes) -> bytes:
    parts: list[bytes] = []
    at, allowed = 0, (WHOLE, FIRST)
    while True:
        if len(data) < at + PART.size:
            raise RecordError(f"truncated at byte {len(data)}")
        magic, word = PART.unpack_from(data, at)
        if magic != MAGIC:
            raise RecordError(f"{magic:#010x} at byte {at} is not the magic {MAGIC:#010x}")
        kind, length = word >> 29, word & MAX_PAYLOAD_BYTES
        if kind not in allowed:
            raise RecordError(f"continuation flag {kind} at byte {at} must be {allowed[0]} or {allowed[1]}")
        start = at + PART.size
        at = start + padded(length)
        if at > len(data):
            raise RecordError(f"ends at byte {at}, but the index gives it {len(data)} bytes")
        parts.append(data[start : start + length])
        if kind in (WHOLE, LAST):
            break
        allowed = (MIDDLE, LAST)
    if at != len(data):
        raise RecordError(f"ends at byte {at}, but the index gives it {len(data)} bytes")
    return parts[0] if len(parts) == 1 else MAGIC_BYTES.join(parts)
