"""Every kind of input that people have: what is read, under which keys, what is counted, and what is said.

The layouts are those that `datasets` 5.2 (save_to_disk) and img2dataset 1.47 write.
"""

import gzip
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import UsageError
from ovocr.labelgen.sources.file_kinds import KINDS_TEXT
from ovocr.recordio import RecordWriter
from tests.labelgen.conftest import write_tar
from tests.labelgen.sources.reading import Read, read

URLS = ["https://x.example/1.jpg", "https://x.example/2.jpg"]


def images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def files(folder: Path, *names: str) -> Path:
    return images(folder, *names)


def tar(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_tar(path, [(name, name.encode()) for name in names])


def zipped(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def parquet(file: Path, **columns: list) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def arrow(path: Path, **columns: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return path


def rec(prefix: Path, *ids: int) -> Path:
    with RecordWriter(prefix) as writer:
        for id in ids:
            writer.write(id, np.zeros(2, np.float32), b"image")
    return prefix.with_suffix(".rec")


def saved_to_disk(folder: Path, *ids: int) -> Path:
    arrow(folder / "data-00000-of-00001.arrow", image=[b"image"] * len(ids), id=list(ids))
    arrow(folder / "cache-fedcba9876543210.arrow", image=[b"again"], id=[0])
    arrow(folder / "data-00001-of-00002.arrow", image=[b"old"], id=[1])  # an earlier call wrote two files
    files(folder, "dataset_info.json")
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": null}')
    return folder


def img2dataset(folder: Path, format: str) -> Path:
    """Writes the output of img2dataset with two shards of one image."""
    for shard, key in (("00000", "000000000"), ("00001", "000010000")):
        (folder / "x").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{shard}_stats.json").write_text("{}")
        columns = {"url": URLS[:1], "key": [key], "status": ["success"]}
        if format == "parquet":
            columns["jpg"] = [b"image"]
        parquet(folder / f"{shard}.parquet", **columns)
        if format == "webdataset":
            tar(folder / f"{shard}.tar", f"{key}.jpg", f"{key}.json", f"{key}.txt")
        elif format == "files":
            files(folder / shard, f"{key}.jpg", f"{key}.json", f"{key}.txt")
    return folder


def glob(folder: Path) -> list[Path]:
    """Returns what a shell makes of `folder/*`."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


@dataclass
class Case:
    """A kind of input. make: writes it and returns the sources. The other fields: what is read, counted and said."""

    make: Callable[[Path], Path | str | list[Path] | list[str]]
    keys: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    ignored: int = 0
    says: str = ""
    lost: str = ""
    options: dict[str, str] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "one image": Case(lambda d: images(d, "1.PNG") / "1.PNG", ["1.PNG"], ["files"]),
    "images of a shell's *.png": Case(
        lambda d: sorted(images(d, "b.png", "a.png", "c.png").glob("*.png")), ["a.png", "b.png", "c.png"], ["files"]
    ),
    "images of two folders, one twice": Case(
        lambda d: [
            images(d, "y/1.jpg", "x/1.jpg", "y/0.jpg") / name for name in ("y/1.jpg", "x/1.jpg", "y/0.jpg", "y/1.jpg")
        ],
        ["0.jpg", "1.jpg", "1.jpg"],
        ["files", "files"],
    ),
    "images of a quoted glob": Case(
        lambda d: f"{images(d, 'x/2.jpg', 'x/1.jpg', 'x/1.txt')}/*/*.jpg", ["1.jpg", "2.jpg"], ["files"]
    ),
    "a quoted ** of everything": Case(
        lambda d: f"{images(d / 'p', 'x/2.jpg', '1.jpg', 'x/1.txt')}/**", ["1.jpg", "x/2.jpg"], ["folder"], ignored=1
    ),
    "a folder of images": Case(
        lambda d: images(d, "b/2.JPEG", "a.avif", "b/1.heic", "n.txt"),
        ["a.avif", "b/1.heic", "b/2.JPEG"],
        ["folder"],
        1,
    ),
    "a folder of .tar": Case(
        lambda d: [tar(d / "b.tar", "2.jpg"), tar(d / "a.TAR", "1.jpg"), files(d, "README.md")][-1],
        ["1.jpg", "2.jpg"],
        ["tar", "tar"],
        ignored=1,
    ),
    "a folder of archives and tables of all kinds": Case(
        lambda d: [
            tar(d / "s/a.tar", "1.jpg"),
            zipped(d / "b.Zip", "2.jpg", "2.json"),
            parquet(d / "c.Parquet", image=[b"x"], key=["3"]),
            arrow(d / "d.arrow", image=[b"x"], id=[4]),
            rec(d / "e", 5),
            d,
        ][-1],
        ["2.jpg", "3", "4", "5", "1.jpg"],
        ["zip", "parquet", "arrow", "rec", "tar"],
        ignored=1,
    ),
    "a folder of images and archives": Case(
        lambda d: [images(d, "1.jpg"), tar(d / "a.tar", "2.jpg")][0],
        ["1.jpg", "2.jpg"],
        ["folder", "tar"],
        says="FOLDER: reads 1 image file and 1 other source, such as FOLDER/a.tar; name the sources one by one if any "
        "of them has the images of another",
    ),
    "images and a table of their captions": Case(
        lambda d: [images(d, "1.jpg"), parquet(d / "metadata.parquet", file_name=["1.jpg"], text=["a"])][0],
        ["1.jpg"],
        ["folder"],
        ignored=1,
        says="ignores 1 table without images beside the images, such as FOLDER/metadata.parquet",
    ),
    ".zip": Case(lambda d: zipped(d / "a.zip", "x/1.jpg", "../2.png", "3.txt"), ["x/1.jpg", "../2.png"], ["zip"], 1),
    "a cut .zip": Case(
        lambda d: [zipped(d / "a.zip", "1.jpg"), os.truncate(d / "a.zip", 60), d / "a.zip"][-1],
        [],
        ["zip"],
        lost="FOLDER/a.zip: no zip archive can be read (File is not a zip file)",
    ),
    ".tar.gz": Case(
        lambda d: (
            [tar(d / "a.tar", "1.jpg"), (d / "a.tgz").write_bytes(gzip.compress((d / "a.tar").read_bytes()))]
            and d / "a.tgz"
        ),
        ["1.jpg"],
        ["tar"],
    ),
    "save_to_disk": Case(lambda d: saved_to_disk(d, 7, 8), ["7", "8"], ["arrow"], ignored=4),
    "save_to_disk of a DatasetDict": Case(
        lambda d: [saved_to_disk(d / "train", 7), saved_to_disk(d / "test", 8), files(d, "dataset_dict.json")][-1],
        ["8", "7"],
        ["arrow", "arrow"],
        ignored=9,
    ),
    "one .arrow": Case(lambda d: arrow(d / "a.arrow", jpg=[b"x", b"y"]), ["0", "1"], ["arrow"]),
    "img2dataset webdataset": Case(
        lambda d: img2dataset(d, "webdataset"),
        ["000000000.jpg", "000010000.jpg"],
        ["tar", "tar"],
        ignored=8,
        says="ignores 2 tables without images beside the images, such as FOLDER/00000.parquet",
    ),
    "img2dataset webdataset, a shell's out/*": Case(
        lambda d: glob(img2dataset(d, "webdataset")),
        ["000000000.jpg", "000010000.jpg"],
        ["tar", "tar"],
        ignored=8,
        says="ignores 2 tables without images beside the images, such as FOLDER/00000.parquet",
    ),
    "img2dataset webdataset, a quoted out/*": Case(
        lambda d: f"{img2dataset(d, 'webdataset')}/*",
        ["000000000.jpg", "000010000.jpg"],
        ["tar", "tar"],
        ignored=8,
        says="ignores 2 tables without images beside the images, such as FOLDER/00000.parquet",
    ),
    "img2dataset parquet": Case(
        lambda d: img2dataset(d, "parquet"), ["000000000", "000010000"], ["parquet", "parquet"], ignored=2
    ),
    "img2dataset files": Case(
        lambda d: img2dataset(d, "files"),
        ["00000/000000000.jpg", "00001/000010000.jpg"],
        ["folder"],
        ignored=8,
        says="ignores 2 tables without images beside the images, such as FOLDER/00000.parquet",
    ),
    "img2dataset files, a shell's out/00000/*": Case(
        lambda d: glob(img2dataset(d, "files") / "00000"), ["000000000.jpg"], ["files"], ignored=2
    ),
    "a list of paths": Case(
        lambda d: (
            [
                images(d, "i/1.jpg", "2.jpg"),
                (d / "all.txt").write_text(f"# mine\ni/1.jpg\n\n{d}/2.jpg\r\ni/../2.jpg\n./i/1.jpg"),
            ]
            and d / "all.txt"
        ),
        ["i/1.jpg", "FOLDER/2.jpg", "i/../2.jpg", "./i/1.jpg"],
        ["list"],
    ),
    "a list with a missing file": Case(
        lambda d: [images(d, "1.jpg"), (d / "a.LST").write_text("1.jpg\nnone.jpg\n")] and d / "a.LST",
        ["1.jpg"],
        ["list"],
        lost="No such file or directory",
    ),
    "a column of paths": Case(
        lambda d: [images(d, "i/1.jpg"), parquet(d / "a.parquet", image_path=["1.jpg"], id=["k"])][1],
        ["k"],
        ["parquet"],
        options={"image_root": "FOLDER/i"},
    ),
    "several images per row": Case(
        lambda d: parquet(d / "a.parquet", images=[[b"x", b"y"], [b"z"]], id=["p", "q"]),
        ["p/0", "p/1", "q/0"],
        ["parquet"],
    ),
    "a folder with its own data set in it": Case(
        lambda d: [
            images(d, "1.jpg"),
            (d / "labels" / "rec").mkdir(parents=True),
            rec(d / "labels" / "rec" / "00000", 0),
            files(d / "labels", "manifest.json", "stats/00000.json"),
            parquet(d / "labels/records/00000.parquet", key=["1.jpg"]),
            d,
        ][-1],
        ["1.jpg"],
        ["folder"],
        ignored=5,
    ),
}

REFUSED: dict[str, tuple[Callable[[Path], Path | str | list], str]] = {
    "a table of URLs": (
        lambda d: parquet(d / "a.parquet", URL=URLS, TEXT=["a", "b"]),
        "FOLDER/a.parquet: column 'URL' has URLs, such as 'https://x.example/1.jpg', instead of images; fetch them "
        "first, such as with img2dataset: docs/obelics.md shows how",
    ),
    "a table of paths": (
        lambda d: parquet(d / "a.parquet", path=["1.jpg"]),
        "FOLDER/a.parquet: column 'path' has paths, such as '1.jpg', instead of images; name their folder with "
        "--image-root DIR",
    ),
    "a table of texts": (
        lambda d: parquet(d / "a.parquet", caption=["a"]),
        "FOLDER/a.parquet: expected a column of encoded images (binary, struct<bytes, path>, or a list of these), "
        "found none among caption",
    ),
    "img2dataset's metadata alone": (
        lambda d: img2dataset(d, "webdataset") / "00000.parquet",
        "FOLDER/00000.parquet: column 'url' has URLs, such as 'https://x.example/1.jpg', instead of images; fetch them "
        "first, such as with img2dataset: docs/obelics.md shows how",
    ),
    "an LMDB folder": (
        lambda d: files(d, "data.mdb", "lock.mdb"),
        "FOLDER: LMDB is not read; write its images to a .tar: docs/labelling.md#lmdb shows how",
    ),
    "an LMDB file": (
        lambda d: files(d, "data.mdb") / "data.mdb",
        "FOLDER/data.mdb: LMDB is not read; write its images to a .tar: docs/labelling.md#lmdb shows how",
    ),
    "a .7z": (lambda d: files(d, "a.7z") / "a.7z", "FOLDER/a.7z: unpack it (7z x FILE) and name the folder"),
    "an .svg": (
        lambda d: files(d, "a.svg") / "a.svg",
        f"FOLDER/a.svg: unknown kind of source; allowed: {KINDS_TEXT}",
    ),
    "a stray file of a shell's *": (
        lambda d: [tar(d / "a.tar", "1.jpg"), files(d, "b.json") / "b.json"],
        f"FOLDER/b.json: unknown kind of source; allowed: {KINDS_TEXT}",
    ),
    "a folder of texts": (
        lambda d: files(d, "a.txt", "b.svg"),
        f"FOLDER: no image and no archive in this folder (other files: 2); allowed: {KINDS_TEXT}",
    ),
    "a glob of texts": (
        lambda d: f"{files(d, 'a.md', 'b.svg')}/*",
        f"FOLDER/*: no file that is read; allowed: {KINDS_TEXT}",
    ),
    "a labelled data set": (
        lambda d: [files(d, "manifest.json"), (d / "rec").mkdir(), rec(d / "rec" / "00000", 0), d][-1],
        "FOLDER: is a labelled data set; to read its stored images, name FOLDER/rec",
    ),
    "a .rec in capitals": (
        lambda d: files(d, "A.REC") / "A.REC",
        "FOLDER/A.REC: rename it and its index so that their names end in .rec and .idx",
    ),
}


def sources(made: Path | str | list) -> list[str]:
    return list(map(str, made)) if isinstance(made, list) else [str(made)]


def run(case: Case, folder: Path) -> Read:
    options = {name: value.replace("FOLDER", str(folder)) for name, value in case.options.items()}
    return read(*sources(case.make(folder)), **options)


@pytest.mark.parametrize("name", CASES)
def test_a_kind_of_input_is_read(tmp_path: Path, name: str):
    case = CASES[name]
    found = run(case, tmp_path)

    def shown(text: str) -> str:
        return text.replace(str(tmp_path), "FOLDER")

    assert list(map(shown, found.keys)) == case.keys
    assert (found.kinds, found.ignored) == (case.kinds, case.ignored)
    assert list(map(shown, found.notices)) == ([case.says] if case.says else [])
    assert [shown(detail) for _, _, detail in found.lost] == ([case.lost] if case.lost else [])


@pytest.mark.parametrize("name", REFUSED)
def test_a_kind_of_input_is_refused_before_the_run(tmp_path: Path, name: str):
    make, message = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        read(*sources(make(tmp_path)))
    assert str(caught.value).replace(str(tmp_path), "FOLDER") == message


def test_images_are_split_into_shards_with_the_identity_of_their_names(tmp_path: Path):
    images(tmp_path, *(f"{number}.jpg" for number in range(5)))
    found = read(*glob(tmp_path), shard_size=2)
    assert [(shard.start, shard.stop, shard.source) for shard in found.shards] == [
        *((0, 2, str(tmp_path)), (2, 4, str(tmp_path)), (4, 5, str(tmp_path)))
    ]
    folder = read(tmp_path, shard_size=2)
    assert [shard.names_sha256 for shard in found.shards] == [shard.names_sha256 for shard in folder.shards]
    assert all("size" not in shard.entry.to_json() for shard in found.shards)


def test_images_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images(tmp_path, "1.jpg", "2.jpg", "x/3.jpg")
    monkeypatch.chdir(tmp_path)
    found = read("2.jpg", "./1.jpg", "./x/3.jpg")
    assert (found.keys, [shard.source for shard in found.shards]) == (["1.jpg", "2.jpg", "3.jpg"], [".", "x"])


def test_a_list_is_split_into_shards_in_its_order(tmp_path: Path):
    images(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "l.txt").write_text("b.jpg\na.jpg\nb.jpg\n")
    found = read(tmp_path / "l.txt", shard_size=2)
    assert found.keys == ["b.jpg", "a.jpg", "b.jpg"]
    assert [(shard.kind, shard.start, shard.stop) for shard in found.shards] == [("list", 0, 2), ("list", 2, 3)]


def test_a_quoted_glob_of_lists_reads_them(tmp_path: Path):
    images(tmp_path, "a.jpg")
    (tmp_path / "l.txt").write_text("a.jpg\n")
    assert read(f"{tmp_path}/*.txt").kinds == ["list"]


def test_a_named_pipe_does_not_block(tmp_path: Path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(UsageError, match=re.escape("a.tar: neither a file nor a folder")):
        read(tmp_path)


def test_the_files_of_a_shell_glob_with_records(tmp_path: Path):
    rec(tmp_path / "a", 1, 2)
    found = read(*glob(tmp_path))
    assert (found.keys, found.ignored) == (["1", "2"], 0)
