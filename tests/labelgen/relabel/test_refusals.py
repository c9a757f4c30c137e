"""Configurations and data sets that relabel refuses, and errors that name damaged files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.files import locked
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import TagPolicy
from ovocr.labelgen.options import BuildOptions, PackOptions, RelabelOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.relabel.relabel import RelabelTotals, relabel
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_frequencies import WordFrequencies

Built = tuple[LabelledDataSet, Totals]


def relabel_to(source: Path, out: Path, **options: Any) -> RelabelTotals:
    return relabel(RelabelOptions(source=source, out=out, **options), progress=False)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 8}, "options.seed is 7 there, 8 in this run"),
        ({"tags": 6}, "options.tags is 5 there, 6 in this run"),
        ({"policy": "idf"}, "options.policy is None there, 'idf' in this run"),
        ({"vocab": "v.txt"}, "vocabulary.size is 12 there, 1 in this run"),
        ({"han": "simplified"}, "segmentation.han is None there, 'simplified' in this run"),
    ],
)
def test_different_configuration_is_refused(built: Built, tmp_path: Path, change: dict[str, Any], difference: str):
    Vocabulary(["fox"]).save(tmp_path / "v.txt")
    if "vocab" in change:
        change = {"vocab": str(tmp_path / "v.txt")}
    relabel_to(built[0].root, tmp_path / "out")
    with pytest.raises(OvocrError, match=f"made with another configuration: {difference}"):
        relabel_to(built[0].root, tmp_path / "out", **change)


def test_unsuitable_data_sets_are_refused(built: Built, options: BuildOptions, tmp_path: Path):
    root = built[0].root
    with pytest.raises(UsageError, match="--out .*: is the data set to relabel"):
        relabel_to(root, root / ".." / root.name)
    shutil.copytree(root, tmp_path / "labels")
    with pytest.raises(OvocrError, match="made with another configuration: relabelled is None there"):
        relabel_to(root, tmp_path / "labels")
    with pytest.raises(OvocrError, match="not a labelled data set"):
        relabel_to(tmp_path, tmp_path / "out")
    (tmp_path / "table.csv").write_text("key,label\na/fox.jpg,1\n")
    packed = PackOptions(
        sources=options.sources[:1], out=tmp_path / "packed", labels=str(tmp_path / "table.csv"), tags=1
    )
    pack_labels(packed, progress=False)
    with pytest.raises(OvocrError, match="packed: a packed data set has no text"):
        relabel_to(tmp_path / "packed", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_with_unrelated_files_is_refused(built: Built, tmp_path: Path):
    (tmp_path / "vocab.txt").write_text("mine\n")
    with pytest.raises(OvocrError, match=r"contains a different vocab\.txt but no manifest\.json"):
        relabel_to(built[0].root, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vocab.txt"]


def test_shard_locked_by_another_process_raises(built: Built, tmp_path: Path):
    out = LabelledDataSet(tmp_path / "out")
    with (
        locked(out.lock_path(0), "held"),
        pytest.raises(OvocrError, match="shard 0 is being written by another process"),
    ):
        relabel_to(built[0].root, out.root)
    assert relabel_to(built[0].root, out.root).built == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def remove_row(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(1), path)


def replace_boxes(path: Path) -> None:
    table = pq.read_table(path)
    lines = pa.array([[{"text": "a", "score": 1.0, "box": [1.0]}]] * len(table))
    pq.write_table(table.set_column(3, "lines", lines), path)


def insert_null(path: Path) -> None:
    table = pq.read_table(path)
    lines = table["lines"].to_pylist()
    lines[0][0]["text"] = None
    pq.write_table(table.set_column(3, table.schema.field("lines"), [pa.array(lines, table["lines"].type)]), path)


def replace_reasons(path: Path) -> None:
    table = pq.read_table(path)
    reasons = [None if reason is None else "bad\x1b" for reason in table["reason"].to_pylist()]
    pq.write_table(table.set_column(3, table.schema.field("reason"), [pa.array(reasons)]), path)


def reverse_index(path: Path) -> None:
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("ocr/00000.parquet", cut, r"ocr/00000.parquet: cannot be read: .*; restore the file"),
        ("ocr/00000.parquet", Path.unlink, r"ocr/00000.parquet: cannot be read"),
        ("ocr/00000.parquet", remove_row, r"ocr/00000.parquet: does not list the images of .*records/00000.parquet"),
        ("ocr/00000.parquet", replace_boxes, r"ocr/00000.parquet: cannot be read: column lines is not of type"),
        ("ocr/00000.parquet", insert_null, r"ocr/00000.parquet: cannot be read: column lines contains a null"),
        ("records/00000.parquet", cut, r"records/00000.parquet: cannot be read"),
        ("records/00000.parquet", remove_row, r"ocr/00000.parquet: does not list the images"),
        (
            "records/00000.parquet",
            replace_reasons,
            r"records/00000.parquet: unknown reason bad\\x1b",
        ),
        ("rec/00000.rec", cut, r"00000\.(idx|rec)"),
        ("rec/00000.idx", lambda path: path.write_bytes(b"0\t0\n"), r"00000.rec: record 1 is missing; restore"),
        ("rec/00000.idx", reverse_index, r"00000.idx: line 1 is for record 2"),
        ("rec/00000.idx", Path.unlink, r"00000.idx: no such file"),
        (
            "stats/00000.json",
            lambda path: path.write_text("{}"),
            r"stats/00000.json: input: expected a count, found None",
        ),
        ("vocab.txt", cut, r"vocab.txt"),
    ],
)
def test_error_names_the_damaged_file_and_nothing_is_written(
    built: Built, tmp_path: Path, file: str, damage: Callable[[Path], Any], message: str
):
    shutil.copytree(built[0].root, tmp_path / "damaged")
    damage(tmp_path / "damaged" / file)
    with pytest.raises(OvocrError, match=message):
        relabel_to(tmp_path / "damaged", tmp_path / "out")
    assert not list(LabelledDataSet(tmp_path / "out").shard_files())
    assert not list((tmp_path / "out").rglob("*.partial"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "manifest.json: format 9; this version of ovocr reads format 3"),
        ({"options": {}}, "manifest.json: options.tags: expected a whole number from 1 to 100000, found None"),
        ({"vocabulary": {"size": 12, "sha256": "0"}}, "vocab.txt: is not the vocabulary that manifest.json names"),
    ],
)
def test_error_names_the_invalid_value_of_the_manifest(
    built: Built, tmp_path: Path, change: dict[str, Any], message: str
):
    shutil.copytree(built[0].root, tmp_path / "odd")
    path = tmp_path / "odd" / "manifest.json"
    path.write_text(json.dumps({**read_object(built[0].manifest_path), **change}))
    with pytest.raises(OvocrError, match=message):
        relabel_to(tmp_path / "odd", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_error_names_changed_frequencies(built: Built, tmp_path: Path):
    out = tmp_path / "out"
    relabel_to(built[0].root, out, policy="idf")
    (out / "stats" / "00000.json").unlink()
    WordFrequencies(9, {"fox": 1}).save(out / "frequencies.tsv")
    with pytest.raises(OvocrError, match=r"out: made with another configuration: frequencies\.images is 6 there, 9"):
        relabel_to(built[0].root, out, policy="idf")
    with pytest.raises(OvocrError, match=r"frequencies\.tsv: is not the file that manifest\.json names"):
        LineLabeller.load(LabelledDataSet(out), TagPolicy(tags=5, seed=7, weighting="idf"))
