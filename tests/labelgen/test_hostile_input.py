"""Hostile images, archives and files, through the real command: each has its reason, and none ends the run."""

import json
import os
import socket
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.labelgen import hostile_archives as archives
from tests.labelgen import hostile_images as h

JPEG, PNG, GIF = h.encode(h.draw()), h.encode(h.draw(), "PNG"), h.encode(h.draw().convert("P"), "GIF")
WEBP, TIFF, BMP = h.encode(h.draw(), "WEBP"), h.encode(h.draw(), "TIFF"), h.encode(h.draw(), "BMP")
DROPPED = {"no-text", "no-word", "no-word-in-vocabulary"}

# Name of the image; its bytes, or a function that makes them; its reason, or "ok" if its words are read.
IMAGES: list[tuple[str, bytes | Callable[[], bytes], str]] = [
    # Larger than they look.
    ("a PNG of 900 million pixels.png", lambda: h.encode(h.Image.new("1", (30_000, 30_000)), "PNG"), "too-many-pixels"),
    ("a PNG header of 4 exapixels.png", h.png_of(2**31 - 1, 2**31 - 1), "too-many-pixels"),
    ("a GIF canvas of 65,535 squared.gif", h.gif_of((65_535, 65_535), (10, 10)), "too-many-pixels"),
    ("a GIF frame beyond its canvas.gif", h.gif_of((10, 10), (65_535, 65_535)), "too-many-pixels"),
    ("a WebP canvas of 16,383 squared.webp", h.webp_of(16_383, 16_383), "undecodable"),
    ("a TIFF of a billion squared.tif", h.gray_tiff(10**9, 10**9), "too-many-pixels"),
    ("a JPEG header of 65,500 squared.jpg", h.jpeg_of(65_500, 65_500), "too-many-pixels"),
    ("a JPEG header of 60 high whose lines end.jpg", h.jpeg_of(300, 600), "ok"),
    ("a BMP of 2 billion rows.bmp", h.bmp_of(10, -(2**31)), "too-many-pixels"),
    ("a BMP of negative width.bmp", h.bmp_of(-10, 10), "too-many-pixels"),
    ("run lengths for 49 million pixels.bmp", h.bmp_of(7000, 7000, 8, 1, b"\0\1"), "undecodable"),
    ("run lengths that jump out.bmp", h.bmp_of(20, 4, 8, 1, b"\0\2\xff\xff" * 100 + b"\0\1"), "no-text"),
    ("200 MB of pixels for 100.png", lambda: h.png_of(10, 10, data=bytes(200 * 2**20)), "no-text"),
    ("200 MB of comment.png", lambda: h.png_with(h.chunk(b"zTXt", b"Comment\0\0" + h.bomb())), "undecodable"),
    (
        "200 MB of international comment.png",
        lambda: h.png_with(h.chunk(b"iTXt", b"C\0\1\0\0\0" + h.bomb())),
        "undecodable",
    ),
    ("200 MB of colour profile.png", lambda: h.png_with(h.chunk(b"iCCP", b"icc\0\0" + h.bomb())), "undecodable"),
    ("20,000 comments.png", lambda: h.png_with(*[h.chunk(b"tEXt", b"%d\0v" % n) for n in range(20_000)]), "ok"),
    ("a chunk of 2 GB.png", PNG[:33] + struct.pack(">I", 2**31 - 1) + b"zTXt" + PNG[33:], "truncated"),
    ("20,000 frames.gif", h.many_frames, "ok"),
    ("2 billion missing frames.png", h.apng(2**31 - 1), "ok"),
    ("no frames at all.png", h.apng(0), "ok"),
    ("a tag of 4 GB.tif", h.gray_tiff(40, 40, (270, 2, 2**31 - 1, 200)), "truncated"),
    ("a directory that follows itself.tif", h.gray_tiff(8, 8, following=8), "no-text"),
    # Cut in each of their parts.
    ("zero bytes.jpg", b"", "empty"),
    ("one byte.jpg", b"\xff", "not-an-image"),
    ("cut after its first marker.jpg", JPEG[:2], "not-an-image"),
    ("cut in its first segment.jpg", JPEG[:10], "truncated"),
    ("cut in its quantisation.jpg", h.jpeg_cut(0xDB, 20), "truncated"),
    ("cut in its frame header.jpg", h.jpeg_cut(0xC0, 8), "truncated"),
    ("cut in its Huffman table.jpg", h.jpeg_cut(0xC4, 10), "truncated"),
    ("cut in its scan header.jpg", h.jpeg_cut(0xDA, 6), "truncated"),
    ("cut in its scan.jpg", h.jpeg_cut(0xDA, 600), "truncated"),
    ("without its end marker.jpg", JPEG[:-2], "truncated"),
    ("cut after its signature.png", PNG[:8], "not-an-image"),
    ("cut in its header.png", PNG[:20], "truncated"),
    ("cut in its pixels.png", PNG[:400], "truncated"),
    ("without its end chunk.png", PNG[:-12], "ok"),
    ("cut in its palette.gif", GIF[:100], "truncated"),
    ("cut in its codes.gif", GIF[:-60], "truncated"),
    ("without its trailer.gif", GIF[:-1], "ok"),
    ("cut in its header.webp", WEBP[:12], "not-an-image"),
    ("cut in its frame.webp", WEBP[:-50], "undecodable"),
    ("cut in its directory.tif", h.gray_tiff(8, 8)[:60], "not-an-image"),
    ("cut in its rows.tif", TIFF[:-5000], "truncated"),
    ("cut in its header.bmp", BMP[:14], "not-an-image"),
    ("cut in its rows.bmp", BMP[:5000], "truncated"),
    # Broken inside.
    ("a wrong checksum.png", PNG[:50] + b"\xff" + PNG[51:], "undecodable"),
    ("colours of no kind.png", h.png_of(10, 10, 8, 7), "not-an-image"),
    ("a palette that is missing.png", h.png_of(10, 10, 8, 3, bytes(110)), "undecodable"),
    ("a JPEG for pixels.png", h.png_of(300, 60, data=JPEG), "undecodable"),
    (
        "an impossible Huffman table.jpg",
        JPEG.replace(b"\xff\xc4\0\x1f\0", b"\xff\xc4\0\x1f\0" + b"\xff" * 16, 1),
        "undecodable",
    ),
    ("marked as lossless.jpg", JPEG.replace(b"\xff\xc0", b"\xff\xc3"), "undecodable"),
    ("12 bits.jpg", JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "not-an-image"),
    ("a height of 0.jpg", h.jpeg_of(300, 0), "not-an-image"),
    # Other content under the name of an image, or after an image.
    ("a web page.jpg", b"<!DOCTYPE html><h1>404</h1>", "not-an-image"),
    ("a drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not-an-image"),
    ("a document.jpg", b"%PDF-1.7\n" + JPEG, "not-an-image"),
    ("PostScript.tif", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-an-image"),
    ("a ZIP.jpg", h.archive, "not-an-image"),
    ("a program.gif", b"\x7fELF\2\1\1" + bytes(100), "not-an-image"),
    ("a film.jpg", b"\0\0\0\x18ftypmp42" + bytes(100), "not-an-image"),
    ("AVIF.jpg", lambda: h.encode(h.draw(), "AVIF"), "ok"),
    ("HEIC.jpg", b"\0\0\0\x18ftypheic" + bytes(100), "not-an-image"),
    ("JPEG 2000.jpg", lambda: h.encode(h.draw(), "JPEG2000"), "ok"),
    ("an icon.png", lambda: h.encode(h.draw(), "ICO"), "not-an-image"),
    ("a PNG.jpg", PNG, "ok"),
    ("a JPEG followed by a ZIP.jpg", lambda: JPEG + h.archive(), "ok"),
    ("a script that is a GIF.gif", b"GIF89a=1;alert(1)//" + GIF, "too-many-pixels"),
    # Metadata.
    *((f"orientation {value}.jpg", h.orientation(value), "ok") for value in (0, 9, 65_535)),
    ("an orientation of text.jpg", h.orientation(0x36363636, kind=2, count=4), "ok"),
    ("EXIF that leads to itself.jpg", h.exif(struct.pack("<HHII", 0x8769, 4, 1, 8), 1, 8), "ok"),
    ("EXIF of rubbish.jpg", h.jpeg_with(0xE1, b"Exif\0\0" + b"\xff" * 60_000), "ok"),
    ("a Photoshop block of rubbish.jpg", h.jpeg_with(0xED, b"Photoshop 3.0\0" + b"8BIM" * 10_000), "ok"),
    ("several missing images.jpg", h.jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0" + b"\xff" * 200), "ok"),
    ("profile 255 of 255.jpg", h.jpeg_with(0xE2, b"ICC_PROFILE\0\xff\xff" + b"a" * 10), "ok"),
    # Valid but unusual.
    ("CMYK.jpg", lambda: h.encode(h.draw().convert("CMYK")), "ok"),
    ("RGB by Adobe's marker.jpg", h.adobe_rgb, "ok"),
    ("16 bits.png", h.deep_rgb, "ok"),
    ("1 bit.png", lambda: h.encode(h.draw().convert("1"), "PNG"), "ok"),
    ("interlaced.png", h.interlaced, "ok"),
    ("transparent palette.png", lambda: h.encode(h.draw().convert("P"), "PNG", transparency=255), "ok"),
    ("float.tif", lambda: h.encode(h.draw().convert("F"), "TIFF"), "ok"),
    ("fax.tif", lambda: h.encode(h.draw().convert("1"), "TIFF", compression="group4"), "ok"),
    ("offsets of 8 bytes.tif", lambda: h.encode(h.draw(), "TIFF", big_tiff=True), "ok"),
    ("top to bottom.bmp", h.upside_down_bmp, "ok"),
    *((f"animation.{kind.lower()}", lambda kind=kind: h.animation(kind), "ok") for kind in ("PNG", "WEBP", "TIFF")),
    # Shapes and contents.
    ("one pixel.png", lambda: h.encode(h.Image.new("RGB", (1, 1)), "PNG"), "no-text"),
    ("100 to 1.png", lambda: h.encode(h.Image.new("RGB", (1000, 10)), "PNG"), "no-text"),
    ("101 to 1.png", lambda: h.encode(h.Image.new("RGB", (1, 101)), "PNG"), "too-elongated"),
    ("32,768 across.png", lambda: h.encode(h.Image.new("1", (32_768, 400)), "PNG"), "side-too-long"),
    ("black.jpg", lambda: h.encode(h.Image.new("RGB", (200, 200))), "no-text"),
    ("noise.jpg", lambda: h.encode(h.noise()), "no-text"),
    ("300 words.png", lambda: h.encode(h.page(300, (1500, 300)), "PNG"), "ok"),
    ("5,000 words, too small to be seen.png", lambda: h.encode(h.page(5000, (1500, 3400)), "PNG"), "no-text"),
    ("letters of one pixel.png", lambda: h.encode(h.draw(font=1), "PNG"), "no-text"),
    ("upside down.png", lambda: h.rotated(180), "no-word-in-vocabulary"),
    ("on its left side.png", lambda: h.rotated(90), "no-word-in-vocabulary"),
    ("on its right side.png", lambda: h.rotated(-90), "ok"),
    (
        "<script>alert(1)</script>.png",
        lambda: h.encode(h.draw("<script>alert(1)", (420, 60)), "PNG"),
        "no-word-in-vocabulary",
    ),
]

# Names of archive members, and their keys.
NAMES = {
    "../../escape.jpg": "../../escape.jpg",
    "/etc/absolute.jpg": "/etc/absolute.jpg",
    "line\nbreak.jpg": "line\nbreak.jpg",
    "\x1b[2J\x07.jpg": "\x1b[2J\x07.jpg",
    "caf\udce9.jpg": "caf\\udce9.jpg",
    "n" * 5000 + ".jpg": "n" * 5000 + ".jpg",
    "\u202egpj.😀.jpg": "\u202egpj.😀.jpg",
    "C:\\CON.jpg": "C:\\CON.jpg",
    "twice.jpg": "twice.jpg",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of archives with a folder of files in it."""
    root = tmp_path_factory.mktemp("hostile")
    with tarfile.open(root / "images.tar", "w") as archive:
        for name, data, _ in IMAGES:
            archives.add(archive, name, data() if callable(data) else data)
        for name in [*NAMES, "twice.jpg"]:
            archives.add(archive, name, JPEG)
    for name, data in archives.ARCHIVES.items():
        (root / f"{name}.tar").write_bytes(data[0])
    _fill(root / "folder")
    return root


def _fill(folder: Path) -> None:
    folder.mkdir()
    (folder / "valid.jpg").write_bytes(JPEG)
    for name in ("line\nbreak.jpg", "\x1b[2J.jpg", "😀.jpg", "n" * 250 + ".jpg"):
        (folder / name).write_bytes(JPEG)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(JPEG)
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as end:
        before = os.getcwd()
        os.chdir(folder)  # a socket's path has 107 bytes at most
        end.bind("socket.jpg")
        os.chdir(before)
    (folder / "folder.jpg").mkdir()
    for name, target in (("nowhere", "nothing"), ("circle", "circle.jpg"), ("device", "/dev/zero"), ("self", ".")):
        (folder / f"{name}.jpg").symlink_to(target)
    (folder / "input-output error.jpg").symlink_to("/proc/self/mem")
    with (folder / "300 MB of holes.png").open("wb") as file:
        file.truncate(300 * 2**20)


FILES = {
    **dict.fromkeys(
        ("valid.jpg", "line\nbreak.jpg", "\x1b[2J.jpg", "😀.jpg", "n" * 250 + ".jpg", "caf\\udce9.jpg"), "ok"
    ),
    **dict.fromkeys(("pipe.jpg", "socket.jpg", "nowhere.jpg", "circle.jpg", "device.jpg"), "unreadable"),
    "input-output error.jpg": "unreadable",
    "300 MB of holes.png": "file-too-large",
}

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def command(folder: Path, vocabulary: Path) -> subprocess.CompletedProcess[str]:
    arguments = ["build-labels", folder / "*.tar", folder / "folder", "--out", folder / "out", "--vocab", vocabulary]
    return subprocess.run(
        [sys.executable, "-m", "ovocr", *map(str, arguments), "--json", str(folder / "figures.json")],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def rows(folder: Path, command: subprocess.CompletedProcess[str]) -> Rows:
    """Returns the rows of the records by the name of their source."""
    assert command.returncode == 0, command.stderr
    found: Rows = {}
    for row in pq.read_table(folder / "out" / "records").to_pylist():
        found.setdefault(Path(row["source"]).name, []).append(row)
    return found


def reason_of(row: dict[str, Any]) -> str:
    """Returns the reason, or "ok". Checks that the status agrees."""
    reason = row["reason"] or "ok"
    status = "ok" if reason == "ok" else "dropped" if reason in DROPPED else "quarantined"
    assert row["status"] == status
    assert bool(row["detail"]) == (status == "quarantined")
    return reason


def test_there_are_at_least_150_cases() -> None:
    assert len({name for name, *_ in IMAGES}) == len(IMAGES) >= 80
    assert len(IMAGES) + len(NAMES) + len(archives.ARCHIVES) + len(FILES) >= 150


@pytest.mark.parametrize(
    ("number", "name", "reason"), [(n, name, reason) for n, (name, _, reason) in enumerate(IMAGES)]
)
def test_a_hostile_image_has_its_reason(rows: Rows, number: int, name: str, reason: str):
    row = rows["images.tar"][number]
    assert row["key"] == name
    assert reason_of(row) == reason, row["detail"]


def test_member_names_are_keys_and_never_paths(rows: Rows, folder: Path):
    named = rows["images.tar"][len(IMAGES) :]
    assert [row["key"] for row in named] == [*NAMES.values(), "twice.jpg"]
    assert {row["status"] for row in named} == {"ok"}
    assert not [*folder.parent.rglob("escape.jpg"), *Path("/etc").glob("absolute.jpg")]


@pytest.mark.parametrize("name", archives.ARCHIVES)
def test_a_hostile_archive_has_its_reasons(rows: Rows, name: str):
    _, expected = archives.ARCHIVES[name]
    assert [(row["key"], reason_of(row)) for row in rows.get(f"{name}.tar", [])] == expected


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_has_its_reason(rows: Rows, name: str):
    (row,) = [row for row in rows["folder"] if row["key"] == name]
    assert reason_of(row) == FILES[name]


def test_every_image_is_counted_once(rows: Rows, folder: Path):
    figures = json.loads((folder / "figures.json").read_text())
    assert sorted(row["key"] for row in rows["folder"]) == sorted(FILES)
    assert figures["input"] == figures["ok"] + figures["dropped"] + figures["quarantined"]
    assert figures["input"] == sum(map(len, rows.values()))
    assert figures["workers_replaced"] == dict.fromkeys(("images", "memory", "timeout", "died"), 0)


def test_the_output_is_printable(command: subprocess.CompletedProcess[str]):
    for text in (command.stdout, command.stderr):
        assert not [char for char in text if char != "\n" and not char.isprintable()]
    assert "Traceback" not in command.stderr
    assert "Warning" not in command.stderr


def test_an_image_that_takes_too_long_is_quarantined(tmp_path: Path, vocabulary: Path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "20,000 scans.jpg").write_bytes(h.many_scans())
    for name in ("first.jpg", "last.jpg"):
        (source / name).write_bytes(JPEG)
    out = tmp_path / "out"
    arguments = ["build-labels", source, "--out", out, "--vocab", vocabulary, "--image-timeout", "6", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "ovocr", *map(str, arguments)], capture_output=True, text=True, timeout=200, check=True
    )
    figures = json.loads(done.stdout)
    assert (figures["ok"], figures["reasons"]) == (2, {"timeout": 1})
    # If it was in a batch with another image, it was retried alone.
    assert figures["workers_replaced"]["timeout"] in (1, 2)
