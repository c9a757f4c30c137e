"""Whole runs of pack-labels on real archives, with real worker processes."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text import find_shards
from ovocr.labelgen.images.stored_image import store_image
from ovocr.labelgen.options import PackOptions
from ovocr.labelgen.pack import PackTotals, pack_labels
from ovocr.recordio import RecordReader, RecordWriter
from tests.labelgen.data_sets import wait_for
from tests.old_format import make_old

Packed = tuple[LabelledDataSet, PackTotals]

# Class ids of the images in ``members``. c.jpg is in the second archive, nowhere.jpg in none.
TABLE = {
    "a/fox.jpg": [5, 3, 5],
    "b/many.PNG": [9, 8, 7, 6, 5, 4],
    "b/unknown.png": [],
    "b/cut.jpg": [1],
    "c.jpg": [0],
    "nowhere.jpg": [11],
}


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def digests(root: Path) -> dict[str, str]:
    """Returns the hash of every file, except statistics, which contain times."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "stats")
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def write_table(path: Path, table: dict[str, list[int]]) -> Path:
    pq.write_table(pa.table({"key": list(table), "labels": pa.array(list(table.values()), pa.list_(pa.int64()))}), path)
    return path


@pytest.fixture(scope="module")
def options(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes]], tar: Any, encoded: Any, drawn: Any
) -> PackOptions:
    """Returns options for two archives, a table and four slots."""
    folder = tmp_path_factory.mktemp("packing")
    first = tar(folder / "first.tar", members)
    second = tar(folder / "second.tar", [("c.jpg", encoded(drawn("c"))), ("d.jpg", encoded(drawn("d")))])
    labels = write_table(folder / "t.parquet", TABLE)
    return PackOptions(sources=(str(first), str(second)), out=folder / "out", labels=str(labels), workers=1, tags=4)


@pytest.fixture(scope="module")
def packed(options: PackOptions) -> Packed:
    totals = pack_labels(options, progress=False)
    return LabelledDataSet.open(options.out), totals


def test_every_image_has_a_row_with_its_status(packed: Packed, options: PackOptions):
    records = rows(packed[0].records_path(0))
    assert [(row["key"], row["status"], row["reason"], row["record_id"]) for row in records] == [
        ("a/fox.jpg", "ok", None, 0),
        ("a/blank.png", "dropped", "no-labels", None),
        ("b/many.PNG", "ok", None, 1),
        ("b/unknown.png", "dropped", "no-labels", None),
        ("b/cut.jpg", "quarantined", "truncated", None),
        ("a/fox.jpg", "ok", None, 2),
        ("b/zero.jpg", "dropped", "no-labels", None),
    ]
    assert [[tag["id"] for tag in row["tags"]] for row in records] == [
        [5, 3],
        [],
        [9, 8, 7, 6, 5, 4],
        [],
        [],
        [5, 3],
        [],
    ]
    assert {row["source"] for row in records} == {options.sources[0]}
    columns = pq.read_schema(packed[0].records_path(0))
    assert columns.names == ["source", "key", "status", "reason", "detail", "record_id", "tags"]
    assert columns.field("tags").type.value_type == pa.struct([("id", pa.int32())])


def test_records_contain_the_stored_image_and_exactly_the_labels(
    packed: Packed, options: PackOptions, members: list[tuple[str, bytes]]
):
    with RecordReader(packed[0].rec_prefix(0)) as reader:
        records = list(reader)
    assert [record.id for record in records] == [0, 1, 2]
    assert [record.labels.tolist() for record in records] == [[5, 3, 5, 3], [9, 8, 7, 6], [5, 3, 5, 3]]
    assert records[0].labels.dtype == np.float32
    assert records[0].image == members[0][1]  # a plain JPEG: its own bytes
    assert records[1].image == store_image(members[3][1], options.max_pixels).jpeg
    with RecordReader(packed[0].rec_prefix(1)) as reader:
        assert [record.labels.tolist() for record in reader] == [[0, 0, 0, 0]]


def test_counts_add_up_and_include_the_keys_of_the_table(packed: Packed):
    data_set, totals = packed
    stats = read_object(data_set.stats_path(0))
    del stats["seconds"], stats["source"], stats["size"]
    assert set(stats.pop("files")) == {"rec", "idx", "records"}
    assert stats == {
        **{"kind": "tar", "input": 7, "ok": 3, "dropped": 3, "quarantined": 1, "ignored": 1, "tags": 10},
        "reasons": {"no-labels": 3, "truncated": 1},
    }
    report = totals.to_json()
    counts = {"shards": 2, "input": 9, "ok": 4, "dropped": 4, "quarantined": 1, "ignored": 1, "tags": 11}
    assert report.items() >= {**counts, "num_classes": 12, "keys": 6, "keys_without_image": 1}.items()
    assert not {"lines", "words_found", "words_in_vocabulary"} & set(report)
    assert totals.format().splitlines()[:-1] == [
        "9 images in 2 shards: 4 ok, 4 dropped, 1 quarantined; 1 other file ignored",
        "  no-labels: 4",
        "  truncated: 1",
        "11 tags (distinct in each image) of 12 classes",
        "6 keys in the table, 1 without an image: 'nowhere.jpg'",
    ]
    assert report["keys_without_image_examples"] == ["nowhere.jpg"]
    more = replace(totals, keys_without_image=4, keys_without_image_examples=["a", "b", "c"])
    assert "6 keys in the table, 4 without an image, such as 'a', 'b', 'c'\n" in more.format()


def test_the_manifest_is_configuration_only(packed: Packed, options: PackOptions):
    manifest = read_object(packed[0].manifest_path)
    assert manifest["num_classes"] == 12
    assert manifest["options"] == {
        **{"tags": 4, "shard_size": 10_000, "max_pixels": 50_000_000},
        **{"key_column": "key", "label_columns": ["labels"]},
    }
    assert manifest["labels"] == {"sha256": hashlib.sha256(Path(options.labels).read_bytes()).hexdigest()}
    assert manifest["shards"] == [
        {"source": source, "kind": "tar", "size": os.path.getsize(source)} for source in options.sources
    ]
    assert set(manifest) == {"format", "num_classes", "options", "labels", "versions", "shards"}


FILES = [("rec", "rec"), ("rec", "idx"), ("records", "parquet"), ("stats", "json")]


def test_a_data_set_has_only_the_files_of_the_format(packed: Packed):
    files = sorted(path.relative_to(packed[0].root).as_posix() for path in packed[0].root.rglob("*") if path.is_file())
    assert files == sorted([*(f"{kind}/{n:05d}.{end}" for kind, end in FILES for n in range(2)), "manifest.json"])


def test_two_workers_and_slices_give_the_same_bytes(packed: Packed, options: PackOptions, tmp_path: Path):
    pack_labels(dataclasses.replace(options, out=tmp_path / "two", workers=2), progress=False)
    assert digests(tmp_path / "two") == digests(packed[0].root)
    sliced = dataclasses.replace(options, out=tmp_path / "sliced", shard_slice=(1, 2))
    second = pack_labels(sliced, progress=False)
    assert (second.counts["ok"], second.keys, second.keys_without_image) == (1, 6, None)
    assert "without an image" not in second.format()
    first = pack_labels(dataclasses.replace(sliced, shard_slice=(0, 2)), progress=False)
    assert (first.counts["ok"], first.keys_without_image) == (3, 1)
    assert digests(tmp_path / "sliced") == digests(packed[0].root)


def test_a_rerun_leaves_a_finished_data_set_unchanged(packed: Packed, options: PackOptions):
    before = {path: path.stat().st_mtime_ns for path in packed[0].root.rglob("*") if path.is_file()}
    totals = pack_labels(options, progress=False)
    assert (totals.built, totals.counts, totals.keys_without_image) == (0, packed[1].counts, 1)
    assert totals.format().endswith("nothing to do: all shards are finished")
    assert before == {path: path.stat().st_mtime_ns for path in packed[0].root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"tags": 6}, "options.tags is 4 there, 6 in this run"),
        ({"max_pixels": 9}, "options.max_pixels is 50000000 there, 9"),
        ({"num_classes": 20}, "num_classes is 12 there, 20 in this run"),
    ],
)
def test_a_different_configuration_is_refused(
    packed: Packed, options: PackOptions, tmp_path: Path, change: dict[str, Any], difference: str
):
    if "labels" in change:
        change = {"labels": str(write_table(tmp_path / "other.parquet", change["labels"]))}
    before = digests(packed[0].root)
    with pytest.raises(OvocrError, match=f"made with another configuration: {difference}"):
        pack_labels(dataclasses.replace(options, **change), progress=False)
    assert digests(packed[0].root) == before


def test_a_data_set_of_format_2_is_resumed_and_stays_of_format_2(packed: Packed, options: PackOptions, tmp_path: Path):
    old = make_old(Path(shutil.copytree(packed[0].root, tmp_path / "old")))
    before = digests(old.root)
    old.stats_path(0).unlink()
    assert pack_labels(dataclasses.replace(options, out=old.root), progress=False).built == 1
    assert digests(old.root) == before
    with pytest.raises(OvocrError, match=r"made with another configuration: options\.tags is 4 there, 6 in this run"):
        pack_labels(dataclasses.replace(options, out=old.root, tags=6), progress=False)


def test_a_killed_run_resumes_with_the_same_bytes(options: PackOptions, tmp_path: Path, tar: Any, encoded: Any):
    # Noise takes long to encode, so that the run is killed in the middle of a shard.
    noise = encoded(Image.effect_noise((2000, 2000), 90).convert("RGB"), "PNG")
    sources = [tar(tmp_path / f"{n}.tar", [(f"{n}-{m}.png", noise) for m in range(4)]) for n in range(3)]
    labels = write_table(tmp_path / "t.parquet", {f"{n}-{m}.png": [n, m] for n in range(3) for m in range(4)})
    changed = dataclasses.replace(options, sources=tuple(map(str, sources)), labels=str(labels))
    whole, out = (dataclasses.replace(changed, out=tmp_path / name) for name in ("whole", "killed"))
    pack_labels(whole, progress=False)
    process = start(out)
    wait_for(out.out / "stats" / "00000.json", process)
    process.kill()
    process.communicate()
    first = (out.out / "stats" / "00000.json").stat().st_mtime_ns
    for kind, end in FILES:
        (out.out / kind / f"00002.{end}.partial").write_bytes(b"half")
    totals = pack_labels(out, progress=False)
    assert 1 <= totals.built <= 2
    assert totals.counts["ok"] == 12
    assert (out.out / "stats" / "00000.json").stat().st_mtime_ns == first
    assert digests(out.out) == digests(whole.out)
    assert not list(out.out.rglob("*.partial"))


def start(options: PackOptions) -> subprocess.Popen[bytes]:
    command = [*("-m", "ovocr", "pack-labels", *options.sources), "--labels", options.labels, "--out", str(options.out)]
    return subprocess.Popen(
        [sys.executable, *command, "--tags", str(options.tags), "--workers", "1"], stderr=subprocess.PIPE
    )


def test_keys_of_every_kind_of_source(options: PackOptions, tmp_path: Path, members: list[tuple[str, bytes]]):
    jpeg = members[0][1]
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "x.jpg").write_bytes(jpeg)
    (tmp_path / "folder" / "z.jpg").write_bytes(jpeg)
    with RecordWriter(tmp_path / "r") as writer:
        writer.write(41, [0.0], jpeg)
    pq.write_table(pa.table({"image": [jpeg, jpeg]}), tmp_path / "rows.parquet")
    pq.write_table(pa.table({"image": [jpeg], "key": ["k"]}), tmp_path / "keyed.parquet")
    (tmp_path / "t.csv").write_text("key,label\nsub/x.jpg,1\nz.jpg,2\n41,3\n0,4\n1,5\nk,6\n")
    sources = tuple(str(tmp_path / name) for name in ("folder", "r.rec", "rows.parquet", "keyed.parquet"))
    own = dataclasses.replace(
        options, sources=sources, labels=str(tmp_path / "t.csv"), out=tmp_path / "out", shard_size=1, tags=1
    )
    totals = pack_labels(own, progress=False)
    assert (totals.shards, totals.counts["ok"], totals.keys_without_image) == (5, 6, 0)
    labels = [int(record.labels[0]) for n in range(5) for record in RecordReader(own.out / "rec" / f"{n:05d}")]
    assert labels == [1, 2, 3, 4, 5, 6]


def test_error_shows_a_key_of_both_sides_if_no_image_has_a_row(
    options: PackOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("ovocr.labelgen.table_keys.UNUSUAL_START", 3)
    labels = write_table(tmp_path / "t.parquet", {"fox": [1], "b/unknown.png": []})
    with pytest.raises(OvocrError) as error:
        pack_labels(dataclasses.replace(options, labels=str(labels), out=tmp_path / "out"), progress=False)
    assert str(error.value) == (
        f"--labels {labels}: no image has a row with class ids: an image's key is 'a/fox.jpg', "
        "the table's first is 'fox'; a key is the path inside the source, including the file extension"
    )
    assert capsys.readouterr().err.startswith(
        f"ovocr: none of the first 3 images has a row in {labels}: an image's key"
    )
    assert not (tmp_path / "out").exists()


def test_a_wrong_table_leaves_no_file(options: PackOptions, tmp_path: Path):
    labels = write_table(tmp_path / "t.parquet", {"a/fox.jpg": [1, 12]})
    with pytest.raises(OvocrError, match="12 is not a class id; must be an integer from 0 to 11"):
        pack_labels(
            dataclasses.replace(options, labels=str(labels), num_classes=12, out=tmp_path / "out"), progress=False
        )
    assert not (tmp_path / "out").exists()


def test_quarantined_images_can_be_retried(options: PackOptions, tmp_path: Path, members: list[tuple[str, bytes]]):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.jpg").symlink_to(tmp_path / "later.jpg")
    labels = write_table(tmp_path / "t.parquet", {"x.jpg": [1], "y.jpg": [2]})
    (tmp_path / "images" / "y.jpg").write_bytes(members[0][1])
    own = dataclasses.replace(
        options, sources=(str(tmp_path / "images"),), labels=str(labels), out=tmp_path / "out", tags=1
    )
    assert pack_labels(own, progress=False).counts["reasons"] == {"unreadable": 1}
    (tmp_path / "later.jpg").write_bytes(members[0][1])
    assert pack_labels(own, progress=False).built == 0
    again = pack_labels(dataclasses.replace(own, retry_quarantined=True), progress=False)
    assert (again.counts["ok"], again.counts["quarantined"]) == (2, 0)


def test_a_data_set_of_build_labels_is_refused(packed: Packed, options: PackOptions, tmp_path: Path):
    shutil.copytree(packed[0].root, tmp_path / "labelled")
    manifest = {
        **read_object(packed[0].manifest_path),
        "vocabulary": {"size": 1, "sha256": "0" * 64},
        "segmentation": {},
        "engine": {"name": "rapidocr"},
    }
    manifest["options"]["seed"] = 0
    del manifest["num_classes"], manifest["labels"]
    (tmp_path / "labelled" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OvocrError, match="another configuration: num_classes is None there, 12 in this run"):
        pack_labels(dataclasses.replace(options, out=tmp_path / "labelled"), progress=False)


def test_a_packed_data_set_has_no_text(packed: Packed):
    with pytest.raises(OvocrError, match="out: a packed data set has no text"):
        find_shards([packed[0].root])


@pytest.mark.parametrize("number", [0, 2**24 + 1])
def test_a_disallowed_number_of_classes_is_an_error_naming_the_option(options: PackOptions, number: int):
    with pytest.raises(UsageError, match=f"--num-classes {number}: must be from 1 to {2**24}"):
        dataclasses.replace(options, num_classes=number)


def test_the_command_prints_figures_and_one_line_for_a_mistake(options: PackOptions, tmp_path: Path, tar: Any):
    arguments = ["pack-labels", *options.sources, "--out", str(tmp_path / "out"), "--workers", "1", "--tags", "2"]
    result = CliRunner().invoke(main, [*arguments, "--labels", options.labels, "--json", "-"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["keys_without_image"] == 1
    wrong = CliRunner().invoke(main, [*arguments, "--labels", options.labels, "--label-column", "x"])
    assert wrong.exit_code == 2
    assert wrong.stderr == (
        f"ovocr: --labels {options.labels}: no column 'x'; name it with --label-column; its columns: key, labels\n"
    )
    hostile = write_table(tmp_path / "h.parquet", {"\x1b[2Jx": [-1]})
    wrong = CliRunner().invoke(main, [*arguments, "--labels", str(hostile)])
    assert wrong.exit_code == 1
    assert "\x1b" not in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1
    archive = tar(tmp_path / "h.tar", [("\x1b[2J\u202e.jpg", b"")])
    wrong = CliRunner().invoke(
        main, ["pack-labels", str(archive), "--labels", options.labels, "--out", str(tmp_path / "h")]
    )
    assert wrong.exit_code == 1
    assert not {"\x1b", "\u202e"} & set(wrong.stderr)


def test_without_image_decoders_the_error_names_the_install_command(options: PackOptions):
    script = (
        "import importlib.util, sys\n"
        "for name in ('rapidocr', 'onnxruntime', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'cv2' else real(name, *rest)\n"
        "from ovocr.cli import main\n"
        f"main({['pack-labels', *options.sources, '--labels', options.labels, '--out', 'o']!r})\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ)
    assert result.stderr == (
        "ovocr: pack-labels needs packages that are not installed; "
        "install the extra \"ocr\": pip install '.[ocr]' in a checkout of ovocr\n"
    )
    assert result.returncode == 2


def test_no_ocr_engine_and_no_torch_is_imported(options: PackOptions, tmp_path: Path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "for name in ('rapidocr', 'onnxruntime', 'torch', 'jieba'):\n"
        "    sys.modules[name] = None\n"
        "from ovocr.labelgen.options import PackOptions\n"
        "from ovocr.labelgen.pack import pack_labels\n"
        f"options = PackOptions(sources={options.sources!r}, labels={options.labels!r},\n"
        f"    out=Path({str(tmp_path / 'out')!r}))\n"
        "if __name__ == '__main__':\n"
        "    print(pack_labels(options, False).counts['ok'])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "4\n"
