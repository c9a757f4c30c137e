"""Sources in an object store yield the same items as the same files on disk."""

import gzip
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources import Found, InputShard, Lost, SourceItem, plan_shards, read_shard
from ovocr.recordio import RecordWriter

MEMBERS = [("x/1.jpg", b"one"), ("x/1.json", b"{}"), ("../2.PNG", b"two" * 4000), ("3.webp", b"three")]


def plan(*sources: str, shard_size: int = 10) -> list[InputShard]:
    return plan_shards(sources, shard_size)


def read(*sources: str, shard_size: int = 10) -> list[list[SourceItem]]:
    return [list(read_shard(shard)) for shard in plan(*sources, shard_size=shard_size)]


@pytest.fixture
def archives(tmp_path: Path, tar: Callable[..., Path]) -> Path:
    """Writes an archive of each kind: a.tar, b.parquet, c.rec with its index, d.zip, e.arrow, f.tgz."""
    folder = tmp_path / "archives"
    folder.mkdir()
    tar(folder / "a.tar", MEMBERS)
    pq.write_table(pa.table({"key": ["k1", "k2"], "image": [b"one", b"two"]}), folder / "b.parquet")
    with RecordWriter(folder / "c") as writer:
        writer.write(0, np.zeros(3, np.float32), b"one")
        writer.write(1, np.zeros(3, np.float32), b"two" * 1000)
    with zipfile.ZipFile(folder / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS:
            archive.writestr(name, data)
    table = pa.table({"id": [1, 2], "image": [b"one", b"two" * 4000]})
    with pa.OSFile(str(folder / "e.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=1)
    (folder / "f.tgz").write_bytes(gzip.compress((folder / "a.tar").read_bytes()))
    return folder


NAMES = ["a.tar", "b.parquet", "c.rec", "d.zip", "e.arrow", "f.tgz"]


@pytest.fixture
def uploaded(archives: Path, bucket: Any) -> str:
    for path in archives.iterdir():
        bucket.put(f"in/{path.name}", path.read_bytes())
    return f"{bucket.url}/in"


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_yields_the_same_images(archives: Path, uploaded: str, name: str):
    local, remote = plan(str(archives / name)), plan(f"{uploaded}/{name}")
    assert remote[0].source == f"{uploaded}/{name}"
    assert (remote[0].kind, remote[0].size) == (local[0].kind, local[0].size)
    # The rows of an Arrow file are not counted from afar.
    assert remote[0].images == (None if name == "e.arrow" else local[0].images)
    assert read(f"{uploaded}/{name}") == read(str(archives / name))


def test_glob_matches_are_sorted_and_indexes_skipped(archives: Path, uploaded: str):
    assert [shard.source for shard in plan(f"{uploaded}/*")] == [f"{uploaded}/{name}" for name in NAMES]
    assert read(f"{uploaded}/*") == read(*(str(archives / name) for name in NAMES))


def test_the_archives_of_a_folder_are_its_sources(archives: Path, uploaded: str):
    assert [shard.source for shard in plan(uploaded)] == [f"{uploaded}/{name}" for name in NAMES]
    assert read(uploaded) == read(str(archives))


def test_images_are_named_one_by_one_by_a_glob_or_in_a_list(bucket: Any, tmp_path: Path):
    names = ["x/2.jpg", "x/1.jpg", "x/1.txt", "y/3.png"]
    urls = [bucket.put(f"photos/{name}", name.encode()) for name in names]
    first, second, _, third = (
        Found(url.rpartition("/")[2], name.encode()) for url, name in zip(urls, names, strict=True)
    )
    assert read(urls[0], urls[1], urls[3]) == [[second, first], [third]]
    assert [shard.source for shard in plan(*urls[:2])] == [f"{bucket.url}/photos/x"]
    assert read(f"{bucket.url}/photos/*/*.jpg") == [[second, first]]
    missing = Lost("none.jpg", Reason.UNREADABLE, "No such file or directory")
    escape = Lost("/etc/passwd", Reason.UNREADABLE, "a path on this machine, in a list that is in an object store")
    listed = bucket.put("photos/all.txt", f"x/2.jpg\n{urls[3]}\nnone.jpg\n/etc/passwd\n".encode())
    assert read(listed) == [[Found("x/2.jpg", b"x/2.jpg"), Found(urls[3], b"y/3.png"), missing, escape]]
    (tmp_path / "own.jpg").write_bytes(b"own")
    (tmp_path / "l.txt").write_text(f"own.jpg\n{urls[0]}\n")
    assert read(str(tmp_path / "l.txt")) == [[Found("own.jpg", b"own"), Found(urls[0], b"x/2.jpg")]]


def test_a_folder_is_sorted_and_split_into_shards(bucket: Any):
    names = [f"{number:02d}.jpg" for number in range(40)]
    for name in names:
        bucket.put(f"photos/{name[0]}/{name}", name.encode())
    bucket.put("photos/readme.txt", b"")
    shards = plan(f"{bucket.url}/photos/", shard_size=25)
    assert [(shard.start, shard.stop, shard.images, shard.ignored) for shard in shards] == [
        (0, 25, 25, 1),
        (25, 40, 15, 0),
    ]
    items = [item for shard in shards for item in read_shard(shard)]
    assert items == [Found(f"{name[0]}/{name}", name.encode()) for name in names]


def test_an_image_that_was_removed_is_lost(bucket: Any):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        bucket.put(f"photos/{name}", name.encode())
    (shard,) = plan(f"{bucket.url}/photos")
    bucket.remove("photos/b.jpg")
    assert [*read_shard(shard)] == [
        Found("a.jpg", b"a.jpg"),
        Lost("b.jpg", Reason.UNREADABLE, "No such file or directory"),
        Found("c.jpg", b"c.jpg"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_damage_has_the_same_effect_and_names_the_object(archives: Path, uploaded: str, bucket: Any, name: str):
    whole = (archives / name).read_bytes()
    cut = whole[: len(whole) // 2]
    (archives / name).write_bytes(cut)
    bucket.put(f"in/{name}", cut)
    (local,), (remote,) = read(str(archives / name)), read(f"{uploaded}/{name}")
    assert any(isinstance(item, Lost) for item in local)
    assert [getattr(item, "detail", item) for item in remote] == [
        item.detail.replace(str(archives), uploaded) if isinstance(item, Lost) else getattr(item, "detail", item)
        for item in local
    ]


def test_an_object_that_changes_raises(uploaded: str, bucket: Any, archives: Path):
    (shard,) = plan(f"{uploaded}/a.tar")
    data = (archives / "a.tar").read_bytes()
    items = read_shard(shard)
    next(items)
    bucket.put("in/a.tar", data[:-1] + b"\1")  # of the same size
    with pytest.raises(OvocrError, match="s3://.*/in/a.tar: changed while it was read"):
        list(items)
    bucket.put("in/a.tar", data + bytes(512))
    with pytest.raises(OvocrError, match=f"has {len(data) + 512} bytes, had {len(data)} when the run was planned"):
        list(read_shard(shard))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://no-such-bucket/a.tar", "s3://no-such-bucket/a.tar: The specified bucket does not exist"),
        ("BUCKET/none.tar", "/none.tar: no such file"),
        ("BUCKET/none/*.tar", r"/none/\*.tar: no file or folder matches"),
        ("BUCKET/texts", "/texts: no image and no archive in this folder \\(other files: 1\\)"),
        ("BUCKET/in/c.idx", "/c.idx: name the .rec next to it"),
        ("nothing://x/a.tar", "nothing://x/a.tar: Protocol not known: nothing"),
    ],
)
def test_a_wrong_source_is_a_usage_error(uploaded: str, bucket: Any, source: str, message: str):
    bucket.put("texts/readme.md", b"")
    with pytest.raises(UsageError, match=message):
        plan(source.replace("BUCKET", bucket.url))


def test_a_rec_without_index_is_a_usage_error(uploaded: str, bucket: Any):
    bucket.remove("in/c.idx")
    with pytest.raises(UsageError, match="its index s3://.*/in/c.idx is missing"):
        plan(f"{uploaded}/c.rec")


def test_an_unreachable_store_is_a_one_line_error(bucket: Any, monkeypatch: pytest.MonkeyPatch):
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the port of "discard", where nothing listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(OvocrError, match=r"^s3://x/a\.tar: Could not connect to the endpoint URL"):
        plan("s3://x/a.tar")


def test_without_the_s3_extra_the_error_names_the_install_command(tmp_path: Path):
    code = "import sys; sys.modules['s3fs'] = None; from ovocr.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "build-labels", "s3://x/a.tar", "--out", str(tmp_path / "o")],
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ovocr: s3://x/a.tar: s3:// needs packages that are not installed; "
        "install the extra \"s3\": pip install '.[s3]' in a checkout of ovocr\n"
    )
