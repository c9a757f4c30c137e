"""A data set of format 2 is relabelled into a data set of the current format, without an engine."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import FORMAT, OLD_FORMAT
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, RelabelOptions
from ovocr.labelgen.relabel.relabel import RelabelTotals, relabel
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from ovocr.vocab import Vocabulary
from tests.old_format import make_old

Built = tuple[LabelledDataSet, Totals]


@pytest.fixture
def old(built: Built, tmp_path: Path) -> LabelledDataSet:
    """Returns a copy of the data set in format 2."""
    return make_old(Path(shutil.copytree(built[0].root, tmp_path / "old")))


def relabel_to(source: LabelledDataSet, out: Path, **options: Any) -> RelabelTotals:
    return relabel(RelabelOptions(source=source.root, out=out, **options), progress=False)


def files(root: Path, *folders: str) -> dict[str, bytes]:
    """Returns the content of the files in the folders."""
    paths = [path for folder in folders for path in (root / folder).iterdir()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def places(data_set: LabelledDataSet, *names: str) -> list[list[tuple[Any, ...]]]:
    """Returns these values of each place of each image."""
    rows = [row for number in (0, 1) for row in pq.read_table(data_set.records_path(number)).to_pylist()]
    return [[tuple(place[name] for name in names) for place in row["tags"]] for row in rows]


def test_the_old_data_set_has_the_first_places_and_no_edges(built: Built, old: LabelledDataSet):
    assert read_object(old.manifest_path)["format"] == OLD_FORMAT
    assert "edges" not in str(pq.read_schema(old.ocr_path(0)))
    for before, after in zip(places(old, "id"), places(built[0], "id"), strict=True):
        assert before == list(dict.fromkeys(after))
    assert places(old, "id") != places(built[0], "id")


def test_records_are_the_same_and_every_place_is_there(built: Built, old: LabelledDataSet, tmp_path: Path):
    totals = relabel_to(old, tmp_path / "out")
    out = LabelledDataSet.open(tmp_path / "out")
    assert files(out.root, "rec") == files(built[0].root, "rec")
    assert places(out, "id", "line") == places(built[0], "id", "line")
    assert places(out, "box") != places(built[0], "box")  # interpolated
    for number in (0, 1):
        lines = [line for row in pq.read_table(out.ocr_path(number)).to_pylist() for line in row["lines"]]
        assert lines
        assert all(line["edges"] == [] for line in lines)
    assert read_object(out.manifest_path)["format"] == FORMAT
    assert (totals.changes.same, totals.changes.mean_jaccard) == (totals.changes.compared, 1.0)
    assert totals.changes.before == totals.changes.after
    assert totals.counts["tags"] == built[1].counts["tags"]


def test_new_data_set_is_valid(old: LabelledDataSet, tmp_path: Path):
    relabel_to(old, tmp_path / "out")
    report = verify(VerifyOptions(root=tmp_path / "out"), progress=False)
    assert (report.findings, report.notices, report.unfinished, report.images) == ([], [], [], 8)


def test_relabelling_again_gives_the_same_bytes(old: LabelledDataSet, tmp_path: Path):
    relabel_to(old, tmp_path / "first")
    relabel_to(LabelledDataSet(tmp_path / "first"), tmp_path / "second")
    folders = ("rec", "ocr", "records")
    assert files(tmp_path / "first", *folders) == files(tmp_path / "second", *folders)


@pytest.mark.parametrize("processes", [1, 2])
def test_policy_and_vocabulary_give_the_records_of_a_new_data_set(
    built: Built, old: LabelledDataSet, tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
):
    """Word frequencies are counted in the old text; an image that was dropped is read from its source."""
    for name in ("RELABELLED_AT_LEAST", "COMPARED_AT_LEAST"):
        monkeypatch.setattr(f"ovocr.labelgen.relabel.relabel.{name}", 1)
    monkeypatch.setattr("ovocr.labelgen.shards.worker_count.available_cores", lambda: processes)
    Vocabulary(["fox", "violin", "the", "lazy"]).save(tmp_path / "v.txt")
    options = {"policy": "idf", "repeats": True, "tags": 3, "vocab": str(tmp_path / "v.txt"), "workers": processes}
    totals = relabel_to(old, tmp_path / "of-old", **options)
    assert (totals.changes.gained_all, totals.counts["ok"]) == (1, 5)
    expected = relabel_to(built[0], tmp_path / "of-new", **options)
    assert files(tmp_path / "of-old", "rec") == files(tmp_path / "of-new", "rec")
    assert (tmp_path / "of-old" / "frequencies.tsv").read_bytes() == (
        tmp_path / "of-new" / "frequencies.tsv"
    ).read_bytes()
    assert totals.changes == expected.changes


def test_build_labels_does_not_continue_a_data_set_of_format_2(old: LabelledDataSet, options: BuildOptions):
    old.stats_path(1).unlink()
    with pytest.raises(OvocrError, match=r"old: format 2, which this version does not continue; finish it with the"):
        build_labels(replace(options, out=old.root), progress=False)
    assert not old.stats_path(1).exists()
