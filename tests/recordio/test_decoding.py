"""The bytes of one record are decoded as by RecFile, and everything else is an error."""

import struct
from pathlib import Path

import pytest

from ovocr.recordio import RecordError, RecordReader, RecordWriter
from ovocr.recordio.decoding import decode_record
from ovocr.recordio.format import MAGIC_BYTES

IMAGES = [b"", b"x", b"image of 17 bytes", MAGIC_BYTES, b"1234" + MAGIC_BYTES + b"5678" + MAGIC_BYTES + b"9"]


@pytest.fixture
def records(tmp_path: Path) -> list[bytes]:
    """Returns the bytes of each record of a .rec."""
    with RecordWriter(tmp_path / "a") as writer:
        for number, image in enumerate(IMAGES):
            writer.write(number, [number, 7], image)
    offsets = [int(line.split()[1]) for line in (tmp_path / "a.idx").read_text().splitlines()]
    data = (tmp_path / "a.rec").read_bytes()
    return [data[start:end] for start, end in zip(offsets, [*offsets[1:], len(data)], strict=True)]


def test_records_are_those_of_the_reader(records: list[bytes], tmp_path: Path):
    with RecordReader(tmp_path / "a") as reader:
        for number, data in enumerate(records):
            found, wanted = decode_record(data), reader[number]
            assert (found.id, found.labels.tolist(), found.image) == (number, wanted.labels.tolist(), IMAGES[number])
            found.labels[0] = 3  # writable


def test_other_lengths_are_errors(records: list[bytes]):
    for data in records:
        for length in range(len(data)):
            with pytest.raises(RecordError, match=r"truncated at byte|ends at byte"):
                decode_record(data[:length])
        with pytest.raises(RecordError, match=r"ends at byte \d+, but the index gives it \d+ bytes"):
            decode_record(data + b"\0\0\0\0")


def test_damage_is_an_error(records: list[bytes]):
    with pytest.raises(RecordError, match=r"^0x0a23d7cf at byte 0 is not the magic 0xced7230a$"):
        decode_record(b"\xcf\xd7\x23\x0a" + records[1][4:])
    with pytest.raises(RecordError, match=r"^continuation flag 2 at byte 0 must be 0 or 1$"):
        decode_record(records[1][:4] + struct.pack("<I", 2 << 29 | 33) + records[1][8:])
    with pytest.raises(RecordError, match=r"^declares 99 labels, but only \d+ bytes follow its header$"):
        decode_record(records[1][:8] + struct.pack("<I", 99) + records[1][12:])
    with pytest.raises(RecordError, match=r"^4 bytes, fewer than its header's 24$"):
        decode_record(MAGIC_BYTES + struct.pack("<I", 4) + b"1234")
