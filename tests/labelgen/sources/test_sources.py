"""Each kind of source: images, keys, and damage."""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.manifest import SOURCE_KINDS
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources import KINDS, Found, Ignored, Lost, SourceItem, plan_shards, read_shard
from ovocr.labelgen.sources.items import too_large
from ovocr.recordio import RecordWriter

MEMBERS = [("x/1.jpg", b"one"), ("x/1.json", b"{}"), ("../../etc/2.PNG", b"two" * 400), ("3.webp", b"three")]
IMAGES = [Found("x/1.jpg", b"one"), Found("../../etc/2.PNG", b"two" * 400), Found("3.webp", b"three")]

Tar = Callable[[Path, list[tuple[str, bytes]]], Path]


def read(*sources: Path | str, shard_size: int = 10) -> list[list[SourceItem]]:
    return [list(read_shard(shard)) for shard in plan_shards(tuple(map(str, sources)), shard_size)]


def found(items: list[SourceItem]) -> list[SourceItem]:
    return [item for item in items if isinstance(item, Found)]


def test_kinds_match_the_manifest():
    assert set(KINDS) == set(SOURCE_KINDS)


def test_tar_images_are_read_in_order(tmp_path: Path, tar: Tar):
    (items,) = read(tar(tmp_path / "a.tar", MEMBERS))
    assert items == [IMAGES[0], Ignored(), *IMAGES[1:]]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar"]  # nothing is unpacked


def test_tar_members_of_the_same_name_are_all_read(tmp_path: Path, tar: Tar):
    (items,) = read(tar(tmp_path / "a.tar", [("1.jpg", b"one"), ("1.jpg", b"other")]))
    assert items == [Found("1.jpg", b"one"), Found("1.jpg", b"other")]


def test_tar_pipes_and_folders_are_ignored_and_links_are_lost(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("1.jpg", tarfile.SYMTYPE), ("2.jpg", tarfile.LNKTYPE), ("3.jpg", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("4.jpg")
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    ((*links, pipe),) = read(tmp_path / "a.tar")
    assert links == [
        Lost(key, Reason.UNREADABLE, "a link to /etc/passwd: pack the image itself") for key in ("1.jpg", "2.jpg")
    ]
    assert pipe == Ignored()


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


COMPRESSIONS = [
    ("gzip", "a.tar.gz", gzip.compress),
    ("gzip", "a.tgz", gzip.compress),
    ("bzip2", "a.tar.bz2", bz2.compress),
    ("xz", "a.TAR.XZ", lzma.compress),
    ("zstd", "a.tar.zst", zstd),
    ("gzip", "a.tar", gzip.compress),
]


@pytest.mark.parametrize(("compression", "name", "compress"), COMPRESSIONS)
def test_a_compressed_tar_is_read_as_a_stream(
    tmp_path: Path, tar: Tar, compression: str, name: str, compress: Callable[[bytes], bytes]
):
    members = [*MEMBERS, *((f"{number}.jpg", os.urandom(70_000 + number)) for number in range(20))]
    data = compress(tar(tmp_path / "plain.tar", members).read_bytes())
    (tmp_path / name).write_bytes(data)
    (items,) = read(tmp_path / name)
    assert (items,) == tuple(read(tmp_path / "plain.tar"))
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    (items,) = read(tmp_path / name)
    lost = items[-1]
    assert isinstance(lost, Lost)
    assert lost.reason is Reason.DAMAGED_SOURCE
    assert lost.detail.startswith(f"{tmp_path / name} (uncompressed from {compression}): offset ")
    assert sum(isinstance(item, Lost) for item in items) == 1
    # A decoder may need the rest of a block: bzip2 has blocks of 900 kB.
    assert len(found(items)) >= (0 if compression in ("bzip2", "xz") else 5)


def test_a_compressed_tar_is_decompressed_once(tmp_path: Path, tar: Tar, monkeypatch: pytest.MonkeyPatch):
    """Going back in a compressed stream would decompress it again from its start."""
    members = [(f"{number}.jpg", os.urandom(512 * (number % 5))) for number in range(200)]
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar(tmp_path / "a.tar", members).read_bytes()))
    monkeypatch.setattr(gzip.GzipFile, "seek", lambda *_: pytest.fail("went back"))
    (items,) = read(tmp_path / "a.tgz")
    assert len(found(items)) == 200


def test_a_tar_whose_first_member_begins_like_a_compressed_file(tmp_path: Path, tar: Tar):
    assert read(tar(tmp_path / "a.tar", [("BZh1.jpg", b"one")])) == [[Found("BZh1.jpg", b"one")]]


def test_tar_names_that_are_not_utf8_are_escaped(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("caf\xe9.jpg")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"one"))
    assert read(tmp_path / "a.tar") == [[Found("caf\\udce9.jpg", b"one")]]


def test_an_empty_tar_is_a_shard_without_images(tmp_path: Path, tar: Tar):
    assert read(tar(tmp_path / "a.tar", [])) == [[]]


@pytest.mark.parametrize(
    ("size", "kept", "key", "detail"),
    [
        # Members are a header of 512 bytes and data padded to 512: 0, 1024 (the json), 2048 (2.PNG, 1200 bytes), 4096.
        (0, 0, "", "offset 0: the file is empty"),
        (100, 0, "", "offset 0: no tar archive"),
        (513, 0, "x/1.jpg", "offset 512: the file ends inside a member"),
        (1024, 1, "", "offset 1024: the file ends without the archive's end mark"),
        (2048 + 300, 1, "", "offset 2048"),
        (2560 + 700, 1, "../../etc/2.PNG", "offset 2560: the file ends inside a member"),
        (4096, 2, "", "offset 4096: the file ends without the archive's end mark"),
        (5120, 3, "", "offset 5120: the file ends without the archive's end mark"),
    ],
)
def test_a_truncated_tar_yields_the_images_before_the_damage(
    tmp_path: Path, tar: Tar, size: int, kept: int, key: str, detail: str
):
    path = tar(tmp_path / "a.tar", MEMBERS)
    os.truncate(path, size)
    (items,) = read(path)
    assert found(items) == IMAGES[:kept]
    lost = items[-1]
    assert isinstance(lost, Lost)
    assert (lost.key, lost.reason) == (key, Reason.DAMAGED_SOURCE)
    assert lost.detail.startswith(f"{path}: {detail}")
    assert sum(isinstance(item, Lost) for item in items) == 1


def test_a_broken_tar_header_is_not_the_end_of_the_archive(tmp_path: Path, tar: Tar):
    path = tar(tmp_path / "a.tar", MEMBERS)
    data = bytearray(path.read_bytes())
    data[2048:2058] = b"\xff" * 10
    path.write_bytes(data)
    (items,) = read(path)
    assert items == [IMAGES[0], Ignored(), Lost("", Reason.DAMAGED_SOURCE, f"{path}: offset 2048: a header is broken")]


def test_a_tar_member_that_is_too_large_is_not_read(tmp_path: Path, tar: Tar, monkeypatch: pytest.MonkeyPatch):
    path = tar(tmp_path / "a.tar", MEMBERS)
    monkeypatch.setattr("ovocr.labelgen.sources.archives.tar.MAX_FILE_BYTES", 1000)
    (items,) = read(path)
    assert found(items) == [IMAGES[0], IMAGES[2]]
    assert items[2] == too_large("../../etc/2.PNG", 1200)


def test_a_tar_that_cannot_be_opened_raises(tmp_path: Path, tar: Tar):
    path = tar(tmp_path / "a.tar", MEMBERS)
    shards = plan_shards((str(path),), 10)
    path.unlink()
    with pytest.raises(OvocrError, match=r"a\.tar: cannot be read: No such file"):
        list(read_shard(shards[0]))


def write_rec(prefix: Path, count: int = 4) -> Path:
    with RecordWriter(prefix) as writer:
        for id in range(count):
            writer.write(10 + id, np.zeros(2, np.float32), b"image" * (id + 1))
    return prefix.with_suffix(".rec")


def test_rec_images_are_read_in_index_order(tmp_path: Path):
    (items,) = read(write_rec(tmp_path / "a"))
    assert items == [Found(str(10 + id), b"image" * (id + 1)) for id in range(4)]


def test_a_rec_without_index_is_a_usage_error(tmp_path: Path):
    path = write_rec(tmp_path / "a")
    path.with_suffix(".idx").unlink()
    with pytest.raises(UsageError, match=r"a\.rec: its index .*a\.idx is missing"):
        read(path)


def test_a_truncated_rec_yields_the_images_before_the_damage(tmp_path: Path):
    path = write_rec(tmp_path / "a")
    os.truncate(path, path.stat().st_size - 6)
    (items,) = read(path)
    assert found(items) == [Found(str(10 + id), b"image" * (id + 1)) for id in range(3)]
    lost = items[-1]
    assert isinstance(lost, Lost)
    assert lost.reason is Reason.DAMAGED_SOURCE
    assert "a.rec" in lost.detail
    assert "byte" in lost.detail
    assert len(items) == 4


def test_only_the_damaged_record_is_lost(tmp_path: Path):
    path = write_rec(tmp_path / "a")
    offset = int(path.with_suffix(".idx").read_text().splitlines()[1].split("\t")[1])
    data = bytearray(path.read_bytes())
    data[offset : offset + 4] = b"oops"
    path.write_bytes(data)
    (items,) = read(path)
    assert [item.key for item in found(items)] == ["10", "12", "13"]
    assert isinstance(items[1], Lost)
    assert (items[1].key, items[1].reason) == ("11", Reason.DAMAGED_SOURCE)


def write_parquet(path: Path, columns: dict[str, pa.Array], **options: object) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def images(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.binary())


def test_parquet_with_a_struct_column_as_on_the_hub(tmp_path: Path):
    cells = [{"bytes": b"one", "path": "/etc/passwd"}, {"bytes": None, "path": None}, None]
    column = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    path = write_parquet(tmp_path / "a.parquet", {"label": pa.array([1, 2, 3]), "image": column})
    assert read(path) == [[Found("/etc/passwd", b"one"), Found("1", b""), Found("2", b"")]]


@pytest.mark.parametrize("name", ["jpg", "bytes", "whatever"])
@pytest.mark.parametrize("type", [pa.binary(), pa.large_binary()])
def test_parquet_with_a_binary_column(tmp_path: Path, name: str, type: pa.DataType):
    keys = pa.array(["a", None, "a"])
    columns = {"__key__": keys, name: pa.array([b"one", b"two", b"three"], type)}
    path = write_parquet(tmp_path / "a.parquet", columns)
    assert read(path) == [[Found("a", b"one"), Found("1", b"two"), Found("a", b"three")]]


def test_parquet_with_two_binary_columns_prefers_a_default_name(tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", {"thumbnail": images(b"x"), "jpg": images(b"one")})
    assert read(path) == [[Found("0", b"one")]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": pa.array(["a"])}, "none among text"),
        (
            {"first": images(b"x"), "second": images(b"x")},
            "several columns of encoded images: first, second; name one with --image-column",
        ),
    ],
)
def test_parquet_without_exactly_one_image_column_is_a_usage_error(
    tmp_path: Path, columns: dict[str, pa.Array], message: str
):
    with pytest.raises(UsageError, match=message):
        read(write_parquet(tmp_path / "a.parquet", columns))


def test_a_damaged_row_group_loses_only_its_rows(tmp_path: Path):
    random = np.random.default_rng(0)
    values = [random.bytes(2000) for _ in range(6)]
    path = write_parquet(tmp_path / "a.parquet", {"jpg": images(*values)}, row_group_size=2, compression="gzip")
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    (items,) = read(path)
    assert [item.key for item in items] == ["0", "1", "2", "3", "4", "5"]
    assert [item.data for item in found(items)] == [values[0], values[1], values[4], values[5]]
    assert isinstance(items[2], Lost)
    assert items[2].detail.startswith(f"{path}: row 2, row group 1: ")


@pytest.mark.parametrize("data", [b"", b"PAR1 no footer", b"PAR1" + b"\xff" * 40 + b"\x20\0\0\0PAR1"])
def test_an_unreadable_parquet_is_one_lost_item(tmp_path: Path, data: bytes):
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    ((lost,),) = read(path)
    assert isinstance(lost, Lost)
    assert lost.reason is Reason.DAMAGED_SOURCE
    assert str(path) in lost.detail


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("b/2.jpg", "b/1.JPEG", "a.png", "c.tiff", "b/notes.txt", "README"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_a_folder_is_sorted_and_split_into_shards(folder: Path):
    shards = plan_shards((str(folder),), 3)
    assert [(shard.start, shard.stop, shard.images, shard.ignored) for shard in shards] == [(0, 3, 3, 2), (3, 4, 1, 0)]
    names = ["a.png", "b/1.JPEG", "b/2.jpg", "c.tiff"]
    expected = [Found(name, name.encode()) for name in names]
    assert [list(read_shard(shard)) for shard in shards] == [expected[:3], expected[3:]]


def test_links_to_files_are_read_and_links_to_folders_are_not(folder: Path, tmp_path: Path):
    (tmp_path / "elsewhere.jpg").write_bytes(b"else")
    (folder / "d.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (folder / "circle").symlink_to(folder)
    (shard,) = plan_shards((str(folder),), 10)
    assert shard.ignored == 3
    assert list(read_shard(shard))[-1] == Found("d.jpg", b"else")


def test_unreadable_files_of_a_folder_have_a_reason(folder: Path):
    (folder / "d.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "e.jpg")
    (shard,) = plan_shards((str(folder),), 10)
    (folder / "a.png").unlink()
    items = list(read_shard(shard))
    assert items[0] == Lost("a.png", Reason.UNREADABLE, "No such file or directory")
    assert items[-2:] == [
        Lost("d.jpg", Reason.UNREADABLE, "No such file or directory"),
        Lost("e.jpg", Reason.UNREADABLE, "not a regular file"),
    ]


def test_glob_matches_are_sorted_and_sources_keep_their_order(tmp_path: Path, tar: Tar, folder: Path):
    for name in ("2", "10", "1"):
        tar(tmp_path / f"{name}.tar", [])
    write_rec(tmp_path / "z")
    shards = plan_shards((str(folder), str(tmp_path / "[!p]*"), str(tmp_path / "2.tar")), 10)
    names = [Path(shard.source).name for shard in shards]
    assert names == ["photos", "1.tar", "10.tar", "2.tar", "z.rec"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.tar", "no such file or folder"),
        ("nothing-*.tar", "no file or folder matches"),
        ("a.svg", "unknown kind of source; allowed: image files, .tar"),
        ("a.pdf", "a.pdf: render its pages to images first"),
        ("a.mdb", "a.mdb: LMDB is not read; write its images to a .tar: docs/labelling.md#lmdb"),
        ("lmdb", "lmdb: LMDB is not read"),
        ("a.REC", "a.REC: rename it and its index so that their names end in .rec and .idx"),
        ("blank.txt", "blank.txt: names no image; write one path per line"),
        ("caption.txt", "caption.txt: no line is the path of an image, the first is 'a red cat'"),
        ("empty", "empty: no image and no archive in this folder (other files: 0)"),
    ],
)
def test_a_wrong_source_is_a_usage_error(tmp_path: Path, source: str, message: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "lmdb").mkdir()
    for name in ("a.svg", "a.pdf", "a.mdb", "lmdb/data.mdb", "lmdb/lock.mdb", "a.REC"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "blank.txt").write_text("\n# 1.jpg\n")
    (tmp_path / "caption.txt").write_text("a red cat\n")
    with pytest.raises(UsageError, match=re.escape(message)):
        plan_shards((str(tmp_path / source),), 10)


def test_a_source_that_changes_while_it_is_read_raises(tmp_path: Path, tar: Tar):
    (shard,) = plan_shards((str(tar(tmp_path / "a.tar", [("1.jpg", b"1"), ("2.jpg", b"2")])),), 10)
    items = read_shard(shard)
    assert next(items) == Found("1.jpg", b"1")
    with open(tmp_path / "a.tar", "ab") as file:
        file.write(bytes(512))
    with pytest.raises(OvocrError, match=r"a\.tar: changed while it was read"):
        list(items)
    with pytest.raises(OvocrError, match=r"a\.tar: has 10752 bytes, had 10240 when the run was planned"):
        list(read_shard(shard))


def test_a_source_that_is_named_several_times_is_read_once(
    tmp_path: Path, members: list[tuple[str, bytes]], tar: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "inner/c.jpg"):
        (tmp_path / "folder" / name).write_bytes(members[0][1])
    tar(tmp_path / "t.tar", members)
    (tmp_path / "x.jpg").write_bytes(members[0][1])
    said: list[str] = []
    names = ("t.tar", "./t.tar", str(tmp_path / "t.tar"), "folder/a.jpg", "folder", "folder/", "folder/inner")
    names += ("x.jpg", "./x.jpg", str(tmp_path / "x.jpg"))
    shards = plan_shards(names, 10, notify=said.append)
    assert [(shard.source, shard.names) for shard in shards] == [
        ("t.tar", ()),
        ("folder", ("a.jpg", "b.jpg", "inner/c.jpg")),
        (".", ("x.jpg",)),
    ]
    assert said == [f"{name}: was named more than once and is read once" for name in ("t.tar", "folder")]


def test_files_of_macos_beside_images_are_ignored(tmp_path: Path, members: list[tuple[str, bytes]]):
    for name in ("a.jpg", "._a.jpg"):
        (tmp_path / name).write_bytes(members[0][1])
    (shard,) = plan_shards((str(tmp_path),), 10)
    assert (shard.names, shard.ignored) == (("a.jpg",), 1)
