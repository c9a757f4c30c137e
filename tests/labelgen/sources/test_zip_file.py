"""Zip archives: intact, damaged and hostile."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.labelgen.sources.archives import zip_file
from tests.labelgen.sources.reading import read

DEFLATED, STORED = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED


def archive(*members: tuple[str, bytes], method: int = DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return buffer.getvalue()


def entry(data: bytes, name: str, member: str = "1.jpg") -> tuple[int, int]:
    """Returns offset and length of a field of a member's entry in the list of members."""
    fields = {"flags": (8, 2), "method": (10, 2), "compressed": (20, 4), "size": (24, 4), "offset": (42, 4)}
    at, length = fields[name]
    end = data.rindex(b"PK\5\6")
    start = struct.unpack_from("<I", data, end + 16)[0]
    while data[start + 46 : start + 46 + len(member)] != member.encode():
        start = data.index(b"PK\1\2", start + 4)
    return start + at, length


def changed(data: bytes, field: str, value: int, member: str = "1.jpg") -> bytes:
    at, length = entry(data, field, member)
    return data[:at] + value.to_bytes(length, "little") + data[at + length :]


def value(data: bytes, field: str, member: str = "1.jpg") -> int:
    at, length = entry(data, field, member)
    return int.from_bytes(data[at : at + length], "little")


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_members_are_read_in_order_and_nothing_is_unpacked(tmp_path: Path, method: int):
    members = [
        ("b/2.jpg", b"two" * 500),
        ("b/2.txt", b""),
        ("../../up.PNG", b"up"),
        ("/root.jpg", b"root"),
        ("b/", b""),
    ]
    members += [("__MACOSX/b/._2.jpg", b"not an image"), ("中.webp", b"zh"), ("inner.zip", b""), ("2.JPEG", b"")]
    path = tmp_path / "a.ZIP"
    path.write_bytes(archive(*members, method=method))
    found = read(path)
    assert found.images == [
        *[
            ("b/2.jpg", b"two" * 500),
            ("../../up.PNG", b"up"),
            ("/root.jpg", b"root"),
            ("中.webp", b"zh"),
            ("2.JPEG", b""),
        ]
    ]
    assert (found.kinds, found.ignored, found.lost) == (["zip"], 3, [])
    assert [each.name for each in tmp_path.rglob("*")] == ["a.ZIP"]


def bomb(_: bytes) -> bytes:
    """Returns 1.jpg of 10 declared bytes that inflates to 50 MB."""
    return changed(archive(("1.jpg", bytes(50 * 2**20)), ("2.jpg", b"two")), "size", 10)


def with_link(_: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        link = zipfile.ZipInfo("1.jpg")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("2.jpg", b"two")
    return buffer.getvalue()


TWO = archive(("1.jpg", b"one" * 100), ("2.jpg", b"two"))

# The archive; reason and detail of 1.jpg, while 2.jpg is read.
HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "a bomb": (bomb, "damaged-source", "Bad CRC-32"),
    "4 GB declared": (lambda data: changed(data, "size", 2**32 - 2), "file-too-large", "at most 268435456 are read"),
    "100 MB declared for 300 bytes": (
        lambda data: changed(data, "size", 100 * 2**20),
        "damaged-source",
        "300 bytes, 104857600 in the list|Bad CRC",
    ),
    "encrypted": (lambda data: changed(data, "flags", 1), "unreadable", "is encrypted; unpack the archive with its"),
    "a method whose output is not limited": (
        lambda _: mixed(),
        "unreadable",
        "compressed with method 12; pack it again with deflate",
    ),
    "overlapping members": (
        lambda data: changed(data, "compressed", value(data, "compressed") + 40),
        "damaged-source",
        "the member overlaps another one",
    ),
    "a damaged member": (lambda data: data[:37] + b"\xff" * 3 + data[40:], "damaged-source", "a.zip: "),
    "a local header elsewhere": (
        lambda data: data.replace(b"PK\3\4", b"PK\0\0", 1),
        "damaged-source",
        "Bad magic number for file header",
    ),
    "a link": (with_link, "unreadable", "a link: pack the image itself"),
}


def mixed() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("1.jpg", bytes(1000), zipfile.ZIP_BZIP2)
        file.writestr("2.jpg", b"two", DEFLATED)
    return buffer.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_lost_with_its_reason(tmp_path: Path, name: str):
    make, reason, detail = HOSTILE[name]
    path = tmp_path / "a.zip"
    path.write_bytes(make(TWO))
    found = read(path)
    assert found.images == [("2.jpg", b"two")]
    ((key, found_reason, found_detail),) = found.lost
    assert (key, found_reason) == ("1.jpg", reason)
    assert any(part in found_detail for part in detail.split("|")), found_detail


def test_a_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """zipfile without a limit inflates up to 2 GB for a member that declares 10 bytes."""
    path = tmp_path / "a.zip"
    path.write_bytes(bomb(b""))
    most = 0
    original = zlib.decompressobj

    class Counting:
        def __init__(self, *arguments: int) -> None:
            self._own = original(*arguments)

        def decompress(self, data: bytes, limit: int = 0) -> bytes:
            nonlocal most
            result = self._own.decompress(data, limit)
            most = max(most, len(result))
            return result

        def __getattr__(self, name: str) -> object:
            return getattr(self._own, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    read(path)
    assert 0 < most <= 2**16


def test_members_with_one_place_are_overlapping(tmp_path: Path):
    data = changed(archive(("1.jpg", b"one"), ("2.jpg", b"two"), ("3.jpg", b"three")), "offset", 0, "2.jpg")
    (tmp_path / "a.zip").write_bytes(data)
    found = read(tmp_path / "a.zip")
    assert found.keys == ["3.jpg"]
    assert [key for key, _, _ in found.lost] == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize("make", [lambda d: b"", lambda d: d[:-30], lambda d: d[: len(d) // 2], lambda d: b"PK" * 40])
def test_a_truncated_archive_is_one_lost_item_that_names_it(tmp_path: Path, make: Callable[[bytes], bytes]):
    path = tmp_path / "a.zip"
    path.write_bytes(make(TWO))
    found = read(path)
    assert found.images == []
    ((key, reason, detail),) = found.lost
    assert (key, reason) == ("", "damaged-source")
    assert detail.startswith(f"{path}: no zip archive can be read (")


def test_a_huge_list_of_members_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zip_file, "MAX_DIRECTORY_BYTES", 100)
    (tmp_path / "a.zip").write_bytes(archive(*((f"{number}.jpg", b"") for number in range(10))))
    ((_, reason, detail),) = read(tmp_path / "a.zip").lost
    assert reason == "damaged-source"
    assert "at most 100 are read" in detail


def test_an_empty_archive_and_one_behind_other_bytes(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(archive())
    assert (read(tmp_path / "a.zip").images, read(tmp_path / "a.zip").lost) == ([], [])
    (tmp_path / "b.zip").write_bytes(b"a program" * 99 + TWO)
    assert read(tmp_path / "b.zip").keys == ["1.jpg", "2.jpg"]


def test_randomly_damaged_archives_end_no_run(tmp_path: Path):
    path = tmp_path / "a.zip"
    for number in range(400):
        data = bytearray(TWO)
        for place in range(1 + number % 4):
            data[(number * 7919 + place * 104729) % len(data)] ^= 1 << (number % 8)
        path.write_bytes(data)
        found = read(path)
        assert len(found.images) + len(found.lost) + found.ignored <= 3
