"""Data sets of the format before are refused, except packed ones, whose files are the same."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from ovocr.dataset.layout import LabelledDataSet, OldFormatError
from ovocr.dataset.manifest import FORMAT, OLD_FORMAT, Manifest
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

LABELLED = make_manifest(["a.tar"], vocabulary=Vocabulary(["fox", "river"]))
PACKED = make_manifest(["a.tar"], num_classes=7)


def write(root: Path, manifest: Manifest) -> Path:
    root.mkdir()
    manifest.write(root / "manifest.json")
    return root


def test_labelled_data_set_of_the_format_before_is_refused_in_one_line(tmp_path: Path):
    root = write(tmp_path / "old set", replace(LABELLED, format=OLD_FORMAT))
    with pytest.raises(OldFormatError) as caught:
        LabelledDataSet.open(root)
    assert str(caught.value) == (
        f"{root}: format 2; make a data set of format 3 from its stored text, without an engine: "
        f"ovocr relabel '{root}' --out NEW_DIR"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert LabelledDataSet.open(root, old=True).manifest() == replace(LABELLED, format=OLD_FORMAT)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "manifest", [LABELLED, PACKED, replace(PACKED, format=OLD_FORMAT)], ids=["labelled", "packed", "packed-2"]
)
def test_readable_formats_are_opened(manifest: Manifest, old: bool, tmp_path: Path):
    assert LabelledDataSet.open(write(tmp_path / "set", manifest), old=old).manifest() == manifest


def test_new_manifests_have_the_current_format():
    assert (LABELLED.to_json()["format"], PACKED.to_json()["format"]) == (FORMAT, FORMAT)


def test_damaged_manifest_is_not_taken_for_an_old_one(tmp_path: Path):
    root = write(tmp_path / "set", LABELLED)
    (root / "manifest.json").write_text('{"format": 2')
    assert LabelledDataSet.open(root).root == root
