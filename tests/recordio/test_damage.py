"""Broken .rec and .idx files raise an error that names the file and the byte or line, and never give a wrong record."""

import re
import struct
from pathlib import Path

import pytest

from ovocr.recordio import RecordError, RecordReader, RecordWriter, rebuild_index, scan_records

MAGIC = struct.pack("<I", 0xCED7230A)


def write_shard(prefix: Path, records: list[tuple[int, object, bytes]]) -> bytes:
    with RecordWriter(prefix) as writer:
        for record in records:
            writer.write(*record)
    return Path(f"{prefix}.rec").read_bytes()


def simple_shard(prefix: Path) -> bytes:
    """Writes six records of 52 bytes."""
    return write_shard(prefix, [(i, [float(i), 7.0], bytes([i]) * 12) for i in range(6)])


def damage(path: Path, *, cut: int | None = None, at: int = 0, value: bytes = b"") -> None:
    data = bytearray(path.read_bytes())[:cut]
    data[at : at + len(value)] = value
    path.write_bytes(data)


# Record 0 has parts at 0 (36 bytes), 36 (12 bytes) and 48 (16 bytes); record 1 is from 64 to 108.
DAMAGED = [
    ({"cut": 2}, 0, "truncated at byte 2, inside the record at byte 0"),
    ({"cut": 20}, 0, "truncated at byte 20: the record at byte 0 ends at byte 36"),
    ({"cut": 36}, 0, "truncated at byte 36, inside the record at byte 0"),
    ({"cut": 42}, 0, "truncated at byte 42, inside the record at byte 0"),
    ({"cut": 46}, 0, "truncated at byte 46: the record at byte 0 ends at byte 48"),
    ({"cut": 70}, 64, "truncated at byte 70, inside the record at byte 64"),
    ({"cut": 106}, 64, "truncated at byte 106: the record at byte 64 ends at byte 108"),
    ({"value": b"JPEG"}, 0, "no record at byte 0: 0x4745504a is not the magic 0xced7230a"),
    ({"at": 36, "value": b"\0\0\0\0"}, 0, "no record at byte 36: 0x00000000 is not the magic"),
    ({"at": 4, "value": struct.pack("<I", 2 << 29 | 28)}, 0, "continuation flag 2 at byte 0 must be 0 or 1"),
    ({"at": 4, "value": struct.pack("<I", 7 << 29 | 28)}, 0, "continuation flag 7 at byte 0 must be 0 or 1"),
    ({"at": 40, "value": struct.pack("<I", 0 << 29 | 4)}, 0, "continuation flag 0 at byte 36 must be 2 or 3"),
    ({"at": 40, "value": struct.pack("<I", 1 << 29 | 4)}, 0, "continuation flag 1 at byte 36 must be 2 or 3"),
    ({"at": 52, "value": struct.pack("<I", 2 << 29 | 6)}, 0, "continuation flag 0 at byte 64 must be 2 or 3"),
    (
        {"at": 68, "value": struct.pack("<I", 2**29 - 1)},
        64,
        "truncated at byte 108: the record at byte 64 ends at byte 5368",
    ),
    ({"at": 68, "value": struct.pack("<I", 20)}, 64, "the record at byte 64 has 20 bytes, fewer than its header's 24"),
    (
        {"at": 72, "value": struct.pack("<I", 4)},
        64,
        "the record at byte 64 declares 4 labels, but only 10 bytes follow",
    ),
    (
        {"at": 72, "value": b"\xff" * 4},
        64,
        "the record at byte 64 declares 4294967295 labels, but only 10 bytes follow",
    ),
]


def damaged_shard(tmp_path: Path, damages: dict) -> Path:
    prefix = tmp_path / "a"
    written = write_shard(prefix, [(0, [1], MAGIC + b"1234" + MAGIC + b"123456"), (1, [2], b"abcdef")])
    assert len(written) == 108
    damage(tmp_path / "a.rec", **damages)
    return prefix


@pytest.mark.parametrize(("damages", "offset", "reason"), DAMAGED)
def test_scan_detects_damage(tmp_path: Path, damages: dict, offset: int, reason: str) -> None:
    prefix = damaged_shard(tmp_path, damages)
    records = scan_records(prefix)
    if offset == 64:
        assert next(records)[1].id == 0, "the record before the damage can be read"
    with pytest.raises(RecordError, match=re.escape(f"{prefix}.rec: {reason}")):
        next(records)


@pytest.mark.parametrize(("damages", "offset", "reason"), DAMAGED)
def test_reader_detects_damage(tmp_path: Path, damages: dict, offset: int, reason: str) -> None:
    prefix = tmp_path / "a"
    damaged_shard(tmp_path, {})
    with RecordReader(prefix) as reader:
        reader[1]
        damage(tmp_path / "a.rec", **damages)  # after the reader was opened and has checked the file
        if reason.startswith("truncated at byte 106"):  # only padding is missing: the image is complete
            assert reader[1].image == b"abcdef"
            return
        for _ in range(2):
            with pytest.raises(RecordError, match=re.escape(f"{prefix}.rec: {reason}")):
                reader[int(offset == 64)]


def test_failed_rebuild_keeps_the_index(tmp_path: Path) -> None:
    prefix = damaged_shard(tmp_path, {"cut": 100})
    before = (tmp_path / "a.idx").read_bytes()
    with pytest.raises(RecordError, match=r"a\.rec: truncated at byte 100: the record at byte 64 ends at byte 108"):
        rebuild_index(prefix)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.idx", "a.rec"]
    assert (tmp_path / "a.idx").read_bytes() == before


def test_rebuild_raises_for_a_repeated_id(tmp_path: Path) -> None:
    one = write_shard(tmp_path / "a", [(7, [1], b"one!")])
    (tmp_path / "a.rec").write_bytes(one + one)
    with pytest.raises(RecordError, match=rf"a\.rec: record id 7 occurs twice, at bytes 0 and {len(one)}"):
        rebuild_index(tmp_path / "a")


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (b"0\t0\n1 48\n", "a.idx:2: not an index line"),
        (b"0\t0\n1\t48", "a.idx:2: not an index line"),  # no line end: the number may be truncated
        (b"\n0\t0\n", "a.idx:1: not an index line"),
        (b"0\t-4\n", "a.idx:1: not an index line"),
        (b"0\t0\r\n", "a.idx:1: not an index line"),
        (b"\xff\xfe0\t0\n", "a.idx:1: not an index line"),
        (b"0\t0\n18446744073709551616\t48\n", "a.idx:2: id 18446744073709551616 is larger than 2**64 - 1"),
        (b"0\t0\n0\t48\n", "a.idx:2: id 0 is already in an earlier line"),
        (b"0\t0\n1\t312\n", "a.idx:2: id 1 points to byte 312 of a .rec of 312 bytes"),
        (b"0\t0\n1\t99999999999999999999\n", "a.idx:2: id 1 points to byte 99999999999999999999 of a .rec"),
        (b"0\t0\n1\t51\n", "a.idx:2: id 1 points to byte 51, but records start at multiples of 4"),
    ],
)
def test_invalid_index_raises_on_opening(tmp_path: Path, index: bytes, reason: str) -> None:
    assert len(simple_shard(tmp_path / "a")) == 312
    (tmp_path / "a.idx").write_bytes(index)
    with pytest.raises(RecordError, match=re.escape(f"{tmp_path}/{reason}")):
        RecordReader(tmp_path / "a")


def test_index_that_points_to_a_different_record_raises(tmp_path: Path) -> None:
    prefix = tmp_path / "a"
    simple_shard(prefix)
    (tmp_path / "a.idx").write_bytes(b"0\t0\n5\t52\n2\t56\n")
    reader = RecordReader(prefix)
    assert reader[0].image == bytes(12)
    for read in (lambda: reader[1], lambda: reader[-2], lambda: reader.by_id(5), lambda: list(reader)):
        with pytest.raises(RecordError) as caught:
            read()
        message = f"{prefix}.idx:2: id 5 points to byte 52 of {prefix}.rec, which has record 1"
        assert str(caught.value).startswith(message)
    with pytest.raises(RecordError, match=re.escape(f"{prefix}.rec: no record at byte 56: ")):
        reader[2]


def test_index_that_points_to_a_later_part_raises(tmp_path: Path) -> None:
    prefix = damaged_shard(tmp_path, {})
    (tmp_path / "a.idx").write_bytes(b"0\t36\n")
    with pytest.raises(RecordError, match="continuation flag 2 at byte 36 must be 0 or 1"):
        RecordReader(prefix)[0]


def test_missing_files_raise(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=re.escape(f"{tmp_path}/a.rec: cannot be opened: No such file")):
        RecordReader(tmp_path / "a")
    with pytest.raises(RecordError, match=re.escape(f"{tmp_path}/a.rec: cannot be opened: No such file")):
        next(scan_records(tmp_path / "a"))
    simple_shard(tmp_path / "a")
    (tmp_path / "a.idx").unlink()
    with pytest.raises(RecordError, match=re.escape(f"{tmp_path}/a.idx: no such file; create it") + ".*rebuild_index"):
        RecordReader(tmp_path / "a")
    (tmp_path / "b.rec").mkdir()
    with pytest.raises(RecordError, match=re.escape(f"{tmp_path}/b.rec: cannot be opened: Is a directory")):
        next(scan_records(tmp_path / "b"))
