"""Whole runs over the kinds of sources: build, verify, resume, relabel from the sources, pack."""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, PackOptions, RelabelOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.provenance.provenance import explain
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from ovocr.vocab import Vocabulary
from tests.labelgen.conftest import write_tar
from tests.labelgen.data_sets import rows


def image(number: int, format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40 + number, 30), (10 * number, 90, 200)).save(buffer, format)
    return buffer.getvalue()


def lines(folder: Path, keys: list[str]) -> Path:
    """Writes a table of lines: the first vocabulary has no word of even keys' lines."""
    table = [{"key": key, "lines": ["fox" if number % 2 else "violin"]} for number, key in enumerate(keys)]
    path = folder / "lines.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


def make_files(folder: Path) -> tuple[tuple[str, ...], list[str], dict[str, Any]]:
    (folder / "i").mkdir()
    names = [f"{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        (folder / "i" / name).write_bytes(image(number, "PNG"))
    return tuple(str(folder / "i" / name) for name in names), names, {"shard_size": 3}


def make_list(folder: Path) -> tuple[tuple[str, ...], list[str], dict[str, Any]]:
    make_files(folder)
    names = ["i/3.png", str(folder / "i" / "1.png"), "i/../i/0.png", "./i/2.png"]
    (folder / "l.txt").write_text("\n".join(names))
    return (str(folder / "l.txt"),), names, {"shard_size": 3}


def make_zip(folder: Path) -> tuple[tuple[str, ...], list[str], dict[str, Any]]:
    names = [f"x/{number}.jpg" for number in range(4)]
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            archive.writestr(name, image(number))
            archive.writestr(f"{name}.json", "{}")
    return (str(folder / "a.zip"),), names, {}


def make_compressed_tar(folder: Path) -> tuple[tuple[str, ...], list[str], dict[str, Any]]:
    import gzip

    names = [f"{number}.jpg" for number in range(4)]
    write_tar(folder / "a.tar", [(name, image(number)) for number, name in enumerate(names)])
    (folder / "b.tar.gz").write_bytes(gzip.compress((folder / "a.tar").read_bytes()))
    return (str(folder / "b.tar.gz"),), names, {}


def make_arrow(folder: Path) -> tuple[tuple[str, ...], list[str], dict[str, Any]]:
    folder = folder / "saved"
    folder.mkdir()
    for shard in range(2):
        rows = [image(2 * shard), image(2 * shard + 1)]
        table = pa.table({"image": rows, "id": [2 * shard, 2 * shard + 1], "page": [f"p{shard}", None]})
        path = str(folder / f"data-0000{shard}-of-00002.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return (str(folder),), ["p0", "1", "p1", "1"], {"image_key_column": "page"}


def make_paths(folder: Path) -> tuple[tuple[str, ...], list[str], dict[str, Any]]:
    make_files(folder)
    table = {"scan": [f"{number}.png" for number in range(4)], "id": [5, 6, 7, 8], "image": [b""] * 4}
    pq.write_table(pa.table(table), folder / "t.Parquet")
    return (str(folder / "t.Parquet"),), ["5", "6", "7", "8"], {"image_root": folder / "i", "image_column": "scan"}


def make_lists_of_images(folder: Path) -> tuple[tuple[str, ...], list[str], dict[str, Any]]:
    table = {"images": [[image(0), image(1)], [], [image(2), None, image(3)]], "id": ["a", "b", "c"]}
    pq.write_table(pa.table(table), folder / "t.parquet")
    return (str(folder / "t.parquet"),), ["a/0", "a/1", "c/0", "c/2"], {}


KINDS = [make_files, make_list, make_zip, make_compressed_tar, make_arrow, make_paths, make_lists_of_images]


@pytest.fixture(params=KINDS)
def options(request: pytest.FixtureRequest, tmp_path: Path, vocabulary: Path) -> tuple[BuildOptions, list[str]]:
    sources, keys, more = request.param(tmp_path)
    table = lines(tmp_path, list(dict.fromkeys(keys)))
    out = tmp_path / "labels"
    build = BuildOptions(sources=sources, out=out, vocab=str(vocabulary), lines=str(table), workers=1, tags=3, **more)
    return build, keys


def records(root: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((root / "records").iterdir()) for row in rows(path)]


def test_a_data_set_is_built_verified_resumed_and_relabelled(options: tuple[BuildOptions, list[str]], tmp_path: Path):
    build, keys = options
    totals = build_labels(build, progress=False)
    assert [row["key"] for row in records(build.out)] == keys
    dropped = [row for row in records(build.out) if row["reason"] == "no-word-in-vocabulary"]
    assert (totals.counts["quarantined"], totals.counts["ok"]) == (0, 4 - len(dropped))
    assert len(dropped) == 2
    assert verify(VerifyOptions(root=build.out, workers=1), progress=False).findings == []
    assert build_labels(build, progress=False).built == 0
    assert {story.key for story in explain(build.out, keys[1]).stories} == {keys[1]}
    described = LabelledDataSet.open(build.out).manifest()
    assert described.source_options == build.source_options
    assert {"image_root", "image_key_column", "image_column"} & set(described.to_json()["options"]) == set(
        build.source_options.describe()
    )
    # The dropped images have no record: relabelling reads them from their sources, with the options of the manifest.
    Vocabulary(["violin", "fox"]).save(tmp_path / "other.txt")
    again = RelabelOptions(source=build.out, out=tmp_path / "again", vocab=str(tmp_path / "other.txt"), workers=1)
    assert relabel(again, progress=False).counts["ok"] == 4
    rebuilt = dataclasses.replace(build, vocab=str(tmp_path / "other.txt"), out=tmp_path / "rebuilt")
    build_labels(rebuilt, progress=False)
    for path in (tmp_path / "again" / "rec").iterdir():
        assert path.read_bytes() == (tmp_path / "rebuilt" / "rec" / path.name).read_bytes()


def test_only_dropped_images_of_named_files_are_read_again(
    tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
):
    for make in (make_files, make_list):
        folder = tmp_path / make.__name__
        folder.mkdir()
        sources, keys, _ = make(folder)
        build = BuildOptions(
            sources=sources, out=folder / "labels", vocab=str(vocabulary), lines=str(lines(folder, keys)), workers=1
        )
        build_labels(build, progress=False)
        labelled = [row["key"] for row in records(build.out) if row["status"] == "ok"]
        for key in labelled:
            os.remove(folder / "i" / Path(key).name)
        Vocabulary(["violin", "fox"]).save(folder / "other.txt")
        again = RelabelOptions(source=build.out, out=folder / "again", vocab=str(folder / "other.txt"), workers=1)
        assert relabel(again, progress=False).counts["ok"] == 4


def test_a_key_of_a_list_cannot_name_another_file(tmp_path: Path, vocabulary: Path):
    """Data sets come from strangers: a key of the records is read only if the list has it at this place."""
    from ovocr.labelgen.images.source_images import OutOfReachError, SourceImages
    from ovocr.labelgen.sources import plan_shards

    (tmp_path / "secret.png").write_bytes(image(9, "PNG"))
    sources, keys, _ = make_list(tmp_path)
    (shard,) = plan_shards(sources, 10)
    reader = SourceImages(dataclasses.replace(shard, names=()), 10**6)
    assert reader.get_any_size(1, keys[1]).width == 41
    for key in (str(tmp_path / "secret.png"), "secret.png", keys[0]):
        with pytest.raises(OutOfReachError, match="has another image in its place"):
            reader.get_any_size(1, key)


def test_row_numbers_of_older_data_sets_find_their_images(tmp_path: Path):
    """They had row numbers as keys where a Parquet file has ids."""
    from ovocr.labelgen.images.source_images import OutOfReachError, SourceImages
    from ovocr.labelgen.sources import plan_shards

    pq.write_table(pa.table({"image": [image(0), image(1)], "id": ["a", "b"]}), tmp_path / "t.parquet")
    (shard,) = plan_shards((str(tmp_path / "t.parquet"),), 10)
    assert SourceImages(shard, 10**6).get_any_size(1, "1").width == 41
    assert SourceImages(shard, 10**6).get_any_size(1, "b").width == 41
    with pytest.raises(OutOfReachError, match="has another image in its place"):
        SourceImages(shard, 10**6).get_any_size(1, "0")


def test_another_option_is_another_configuration(tmp_path: Path, vocabulary: Path):
    sources, keys, more = make_arrow(tmp_path)
    table = str(lines(tmp_path, ["0", *dict.fromkeys(keys)]))
    build = BuildOptions(sources=sources, out=tmp_path / "o", vocab=str(vocabulary), lines=table, workers=1, **more)
    build_labels(build, progress=False)
    with pytest.raises(OvocrError, match="options.image_key_column is 'page' there, None in this run"):
        build_labels(dataclasses.replace(build, image_key_column=None), progress=False)


@pytest.mark.parametrize("make", [make_zip, make_files, make_arrow])
def test_pack_labels_reads_the_same_sources(tmp_path: Path, make: Callable[..., Any]):
    sources, keys, more = make(tmp_path)
    table = tmp_path / "labels.csv"
    table.write_text("key,label\n" + "".join(f"{key},{number}\n" for number, key in enumerate(keys)))
    packed = PackOptions(sources=sources, labels=str(table), out=tmp_path / "packed", workers=1, **more)
    assert pack_labels(packed, progress=False).counts["ok"] == 4
    assert [row["key"] for row in records(packed.out)] == keys
    assert LabelledDataSet.open(packed.out).manifest().source_options == packed.source_options


def test_key_column_means_the_sources_without_lines_and_the_table_with_it(tmp_path: Path):
    build = BuildOptions(sources=("x.parquet",), out=tmp_path, key_column="id")
    assert build.source_options.image_key_column == "id"
    given = BuildOptions(sources=("x.parquet",), out=tmp_path, key_column="id", lines="t.csv", image_key_column="k")
    assert given.source_options.image_key_column == "k"
    assert dataclasses.replace(given, image_key_column=None).source_options.image_key_column is None
