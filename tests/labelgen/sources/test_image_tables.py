"""Parquet and Arrow files: columns of images and keys, paths, and damage. Both kinds of files behave alike."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.labelgen.sources import plan_shards, read_shard
from tests.labelgen.sources.reading import read

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Write = Callable[[Path, pa.Table], Path]


def write_parquet(folder: Path, table: pa.Table) -> Path:
    pq.write_table(table, folder / "t.parquet", row_group_size=2)
    return folder / "t.parquet"


def write_stream(folder: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(folder / "t.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return folder / "t.arrow"


def write_file(folder: Path, table: pa.Table) -> Path:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(folder / "t.arrow"), "wb") as file,
        pa.ipc.new_file(file, table.schema, options=options) as writer,
    ):
        writer.write_table(table, max_chunksize=2)
    return folder / "t.arrow"


@pytest.fixture(params=[write_parquet, write_stream, write_file])
def write(request: pytest.FixtureRequest) -> Write:
    return request.param


def cells(*values: tuple[bytes | None, str | None] | None) -> pa.Array:
    return pa.array([None if value is None else {"bytes": value[0], "path": value[1]} for value in values], IMAGE)


ONE_TWO_THREE = cells((b"one", "a/1.jpg"), (b"two", None), None)


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        ({}, ["a/1.jpg", "1", "2"]),
        ({"id": [7, 8, None]}, ["7", "8", "2"]),
        ({"id": ["x", "x", "y"]}, ["x", "x", "y"]),
        ({"id": [1, 2, 3], "url": ["u", None, "w"]}, ["u", "1", "w"]),
        ({"url": ["u", "v", "w"], "__key__": ["k", "l", "m"]}, ["k", "l", "m"]),
        ({"__key__": ["k", "l", "m"], "key": ["p", "q", "r"]}, ["p", "q", "r"]),
        ({"key": [0.5, 1.5, 2.5], "id": [1, 2, 3]}, ["1", "2", "3"]),
    ],
)
def test_keys_are_found_in_the_documented_order(
    tmp_path: Path, write: Write, columns: dict[str, list], keys: list[str]
):
    found = read(write(tmp_path, pa.table({"image": ONE_TWO_THREE, **columns})))
    assert found.images == list(zip(keys, [b"one", b"two", b""], strict=True))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("image.path", ["a/1.jpg", "1", "2"]),
        ("n", ["4", "5", "6"]),
        ("page", ["p", "1", "q"]),
        ("row-number", ["0", "1", "2"]),
    ],
)
def test_a_key_column_can_be_named(tmp_path: Path, write: Write, name: str, keys: list[str]):
    columns = {"image": ONE_TWO_THREE, "key": ["k", "l", "m"], "n": [4, 5, 6], "page": ["p", None, "q"]}
    assert read(write(tmp_path, pa.table(columns)), image_key_column=name).keys == keys


def test_several_images_per_row(tmp_path: Path, write: Write):
    rows = [[{"bytes": b"1", "path": None}, None, {"bytes": b"2", "path": "x.jpg"}], [], None, [{"bytes": b"3"}]]
    path = write(tmp_path, pa.table({"images": pa.array(rows, pa.list_(IMAGE)), "id": ["a", "b", "c", None]}))
    found = read(path)
    assert found.images == [("a/0", b"1"), ("a/2", b"2"), ("3/0", b"3")]
    assert (found.ignored, found.lost, found.shards[0].images) == (3, [], None)
    plain = pa.table({"images": pa.array([[b"1", b"2"], [b"3"]], pa.large_list(pa.large_binary()))})
    assert read(write(tmp_path, plain)).images == [("0/0", b"1"), ("0/1", b"2"), ("1/0", b"3")]


def test_an_image_column_can_be_named(tmp_path: Path, write: Write):
    path = write(tmp_path, pa.table({"image": [b"one"], "scan": [b"two"]}))
    assert read(path).images == [("0", b"one")]
    assert read(path, image_column="scan").images == [("0", b"two")]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").write_bytes(b"one")
    (root / "2.jpg").write_bytes(b"two")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return root


@pytest.mark.parametrize("column", ["struct", "null bytes", "text"])
def test_paths_need_the_folder_of_the_images(tmp_path: Path, write: Write, photos: Path, column: str):
    paths = ["a/1.jpg", "2.jpg", None]
    table = {
        "struct": pa.table({"image": pa.array([{"path": path} for path in paths], pa.struct([("path", pa.string())]))}),
        "null bytes": pa.table({"image": cells(*((None, path) for path in paths))}),
        "text": pa.table({"caption": ["x", "y", "z"], "file_name": paths}),
    }[column]
    path = write(tmp_path, table)
    name = "file_name" if column == "text" else "image"
    with pytest.raises(UsageError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: column '{name}' has paths, such as 'a/1.jpg', instead of images; "
        "name their folder with --image-root DIR"
    )
    keys = ["0", "1", "2"] if column == "text" else ["a/1.jpg", "2.jpg", "2"]
    found = read(path, image_root=str(photos))
    assert found.images == list(zip(keys, [b"one", b"two", b""], strict=True))
    with pytest.raises(UsageError, match=r"--image-root .*/a: has none of the first paths of .*, such as 'a/1.jpg'"):
        read(path, image_root=str(photos / "a"))


def test_paths_cannot_leave_the_folder(tmp_path: Path, write: Write, photos: Path):
    (photos / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (photos / "in.jpg").symlink_to(photos / "2.jpg")
    (photos / "loop.jpg").symlink_to(photos / "loop.jpg")
    os.mkfifo(photos / "pipe.jpg")
    sibling = tmp_path / "photos-of-others"
    sibling.mkdir()
    (sibling / "3.jpg").write_bytes(b"three")
    paths = [
        *("a/1.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "out.jpg", f"{sibling}/3.jpg", "/etc/passwd"),
        *("in.jpg", str(photos / "2.jpg"), "a/../2.jpg", "loop.jpg", "pipe.jpg", "", "none.jpg", "x\0.jpg", "a"),
        "https://x.example/1.jpg",
    ]
    path = write(tmp_path, pa.table({"n": range(len(paths)), "image": cells(*((None, path) for path in paths))}))
    found = read(path, image_root=str(photos), image_key_column="n")
    assert found.images == [("0", b"one"), ("6", b"two"), ("7", b"two"), ("8", b"two")]
    details = {int(key): detail for key, reason, detail in found.lost if reason == "unreadable"}
    assert sorted(details) == [1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15]
    assert all("leads out of --image-root" in details[number] for number in (1, 2, 3, 4, 5))
    assert details[1].startswith("../secret.jpg: ")
    assert "No such file" in details[12]
    assert "a URL; fetch the images first" in details[15]


def test_a_row_with_only_a_path_among_rows_with_bytes(tmp_path: Path, write: Write, photos: Path):
    path = write(tmp_path, pa.table({"image": cells((b"one", "x.jpg"), (None, "2.jpg"))}))
    found = read(path)
    assert found.images == [("x.jpg", b"one")]
    assert found.lost == [("2.jpg", "empty", "has no bytes, only the path 2.jpg; name its folder with --image-root")]
    assert read(path, image_root=str(photos)).images == [("x.jpg", b"one"), ("2.jpg", b"two")]


URLS = [None, "https://x.example/1.jpg"]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"images": pa.array([[None], URLS], pa.list_(pa.string())), "texts": [["a"], [None, "b"]]}, "images"),
        ({"TEXT": ["https is a protocol", "b"], "URL": URLS}, "URL"),
        ({"caption": ["a", "b"], "url": URLS, "key": ["1", "2"]}, "url"),
        ({"image": URLS}, "image"),
    ],
    ids=["OBELICS", "LAION", "img2dataset's metadata", "image"],
)
def test_tables_of_urls_say_how_to_fetch_the_images(tmp_path: Path, write: Write, columns: dict, name: str):
    path = write(tmp_path, pa.table(columns))
    with pytest.raises(UsageError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: column '{name}' has URLs, such as 'https://x.example/1.jpg', instead of images; "
        "fetch them first, such as with img2dataset: docs/obelics.md shows how"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "x"}, "has no column 'x' \\(--image-column\\); its columns: image, n, f"),
        ({"image_column": "n"}, "column 'n' \\(--image-column\\) has no images: its type is int64"),
        ({"image_key_column": "x"}, "has no column 'x' for the keys; its columns: image, n, f"),
        ({"image_key_column": "n.x"}, "has no column 'n.x' for the keys"),
        ({"image_key_column": "f"}, "column 'f' cannot have keys, which are texts or integers: it has double"),
        ({"image_key_column": "image"}, "column 'image' cannot have keys"),
        ({"image_root": "/none"}, "--image-root /none: no such folder"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path: Path, write: Write, options: dict[str, str], message: str):
    path = write(tmp_path, pa.table({"image": ONE_TWO_THREE, "n": [1, 2, 3], "f": [0.5, 1.5, 2.5]}))
    with pytest.raises(OvocrError, match=message):
        read(path, **options)


@pytest.mark.parametrize("name", ["image_column", "image_key_column", "image_root"])
def test_options_without_a_table_are_refused(photos: Path, name: str):
    with pytest.raises(
        UsageError, match=f"--{name.replace('_', '-')} x: has no effect, because no SOURCE is a .parquet"
    ):
        read(photos, **{name: "x"})


def test_damage_of_a_stream_ends_it_and_names_it(tmp_path: Path):
    path = write_stream(tmp_path, pa.table({"id": range(6), "image": [os.urandom(500) for _ in range(6)]}))
    whole = path.read_bytes()
    path.write_bytes(whole[:-500])
    found = read(path)
    assert found.keys == ["0", "1", "2", "3"]
    ((key, reason, detail),) = found.lost
    assert (key, reason) == ("", "damaged-source")
    assert detail.startswith(f"{path}: damaged after row 3 (")


@pytest.mark.parametrize(
    "data", [b"", b"ARROW1", b"ARROW1\0\0 no footer", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"text"]
)
def test_an_unreadable_arrow_file_is_one_lost_item(tmp_path: Path, data: bytes):
    (tmp_path / "t.arrow").write_bytes(data)
    found = read(tmp_path / "t.arrow")
    assert found.images == []
    ((key, reason, detail),) = found.lost
    assert (key, reason) == ("", "damaged-source")
    assert detail.startswith(f"{tmp_path / 't.arrow'}: no Arrow file can be read (")


def test_wrong_offsets_lose_the_rows_of_their_batch(tmp_path: Path):
    """PyArrow reads such a file without an error, and would then read memory that is not the file's."""
    path = write_stream(tmp_path, pa.table({"image": [b"one", b"two"] * 3}))
    offsets = np.array([0, 3, 6], "<i4").tobytes()
    before, between, behind, rest = path.read_bytes().split(offsets)
    wrong = np.array([0, 3, 2**30], "<i4").tobytes()
    path.write_bytes(before + offsets + between + wrong + behind + offsets + rest)
    found = read(path)
    assert found.images == [("0", b"one"), ("1", b"two"), ("4", b"one"), ("5", b"two")]
    assert [(key, reason) for key, reason, _ in found.lost] == [("2", "damaged-source"), ("3", "damaged-source")]


@pytest.mark.parametrize("format", [write_stream, write_file])
def test_randomly_damaged_arrow_files_end_no_run(tmp_path: Path, format: Write):
    path = format(tmp_path, pa.table({"id": ["a", "b", "c", "d"], "image": cells(*[(b"x" * 90, "p.jpg")] * 4)}))
    whole = path.read_bytes()
    for number in range(300):
        data = bytearray(whole)
        data[(number * 7919) % len(data)] ^= 1 << (number % 8)
        path.write_bytes(data)
        try:
            shards = plan_shards((str(path),), 10)
            items = [item for shard in shards for item in read_shard(shard)]
        except UsageError:
            continue  # the damage is in the names or types of the columns
        assert len(items) <= 6


def test_nothing_but_the_start_is_read_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run over thousands of files must not read their images twice."""
    image = cells(*[(os.urandom(2**20), None)] * 4)
    path = write_parquet(tmp_path, pa.table({"image": image}))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("read rows"))
    assert plan_shards((str(path),), 10)[0].images == 4
