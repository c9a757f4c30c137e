"""The manifest is read back as it was written, and problems are named."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.json_objects import Problem
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import FORMAT, IDF, Manifest, ShardEntry, SplitEntry, TagPolicy, WholeDataSet
from ovocr.labelgen.shards.manifest import find_difference
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

LABELLED = make_manifest(["a.tar", "b.tar"], vocabulary=Vocabulary(["fox", "river"]))
PACKED = make_manifest(["a.tar"], num_classes=7)
FOLDER = ShardEntry(source="images", kind="folder", start=0, stop=3, names_sha256="ab")


SPLIT = SplitEntry(
    part="train",
    share=0.05,
    by="key",
    seed=3,
    groups_sha256=None,
    whole=WholeDataSet(manifest_sha256="ab", files_sha256="cd", shards=2, images=40),
)


def test_find_difference_names_the_first_different_value():
    assert find_difference({"a": [{"b": 1}]}, {"a": [{"b": 2}]}) == "a[0].b is 1 there, 2 in this run"
    assert find_difference({"a": 1}, {"a": 1, "b": 2}) == "b is None there, 2 in this run"
    assert find_difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) == ""


@pytest.mark.parametrize(
    "manifest",
    [
        LABELLED,
        PACKED,
        replace(LABELLED, policy=TagPolicy(tags=3, seed=9, weighting=IDF, repeats=True)),
        replace(LABELLED, policy=TagPolicy(tags=3, seed=9, min_score=0.55, min_letters=2)),
        replace(LABELLED, policy=TagPolicy(tags=3, seed=9, min_score=1.0)),
        replace(LABELLED, relabelled={"manifest_sha256": "0", "versions": {"ovocr": "1"}}, versions={"ovocr": "2"}),
        replace(LABELLED, shards=(FOLDER, ShardEntry(source="s3://b/é.tar", kind="tar", size=512))),
        replace(LABELLED, split=SPLIT),
        replace(PACKED, split=replace(SPLIT, part="held-out", by="shop", groups_sha256="ef")),
    ],
)
def test_written_manifest_is_read_back(manifest: Manifest, tmp_path: Path):
    manifest.write(tmp_path / "manifest.json")
    assert Manifest.read(tmp_path / "manifest.json") == manifest
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest.to_json()


def test_order_of_keys_follows_the_file_format():
    policy = TagPolicy(tags=3, seed=9, weighting=IDF, repeats=True)
    labelled = replace(LABELLED, policy=policy, relabelled={}, shards=(FOLDER,)).to_json()
    assert list(labelled) == [
        *("format", "options", "vocabulary", "segmentation", "engine", "versions", "shards", "relabelled")
    ]
    assert list(labelled["options"]) == ["tags", "seed", "shard_size", "max_pixels", "policy", "repeats"]
    assert list(labelled["shards"][0]) == ["source", "kind", "start", "stop", "names_sha256"]
    packed = PACKED.to_json()
    assert list(packed) == ["format", "num_classes", "options", "labels", "versions", "shards"]
    assert list(packed["options"]) == ["tags", "shard_size", "max_pixels", "key_column", "label_columns"]
    assert list(packed["shards"][0]) == ["source", "kind", "size"]


def test_limits_of_the_policy_are_written_only_if_they_are_set():
    assert not {"min_score", "min_letters"} & set(LABELLED.to_json()["options"])
    policy = TagPolicy(tags=3, seed=9, min_score=0.5, min_letters=2)
    options = replace(LABELLED, policy=policy).to_json()["options"]
    assert (options["min_score"], options["min_letters"]) == (0.5, 2)
    assert list(options)[-2:] == ["min_score", "min_letters"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("min_score", 1.5, "a number from 0 to 1"),
        ("min_score", "0.5", "a number from 0 to 1"),
        ("min_score", True, "a number from 0 to 1"),
        ("min_letters", 0, "a whole number from 1 to 100"),
        ("min_letters", 2.0, "a whole number from 1 to 100"),
    ],
)
def test_invalid_limits_are_named(name: str, value: object, expected: str):
    data = LABELLED.to_json()
    data["options"][name] = value
    manifest, problems = Manifest.parse(data)
    assert problems == [Problem(f"options.{name}", expected, repr(value))]
    assert manifest.policy == LABELLED.policy


def test_properties_of_labelled_and_packed_data_sets():
    assert (LABELLED.has_text, LABELLED.num_classes, LABELLED.command) == (True, 2, "build-labels")
    assert (PACKED.has_text, PACKED.num_classes, PACKED.command) == (False, 7, "pack-labels")
    assert replace(LABELLED, relabelled={}).command == "relabel"


def test_command_and_ancestors_of_parts():
    part = replace(LABELLED, split=SPLIT)
    again = replace(LABELLED, relabelled=part.describe_relabelled("12"))
    assert [each.command for each in (LABELLED, part, again)] == ["build-labels", "split", "relabel"]
    assert replace(PACKED, split=SPLIT).command == "split"
    assert [each.ancestors for each in (LABELLED, part, again)] == [[], ["ab"], ["12", "ab"]]
    assert part.splits == again.splits == [SPLIT.to_json()]
    divided = replace(again, split=replace(SPLIT, seed=8))
    assert divided.command == "split"
    assert [split["seed"] for split in divided.splits] == [8, 3]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"part": "test"}, "split.part"),
        ({"share": 2}, "split.share"),
        ({"by": None}, "split.by"),
        ({"seed": -1}, "split.seed"),
        ({"groups_sha256": 3}, "split.groups_sha256"),
        ({"data_set": None}, "split.data_set"),
        ({"data_set": {**SPLIT.to_json()["data_set"], "images": "x"}}, "split.data_set.images"),
    ],
)
def test_damaged_split_is_named(change: dict[str, Any], name: str):
    data = {**LABELLED.to_json(), "split": {**SPLIT.to_json(), **change}}
    assert Manifest.parse(data)[1][0].name == name


def test_unknown_keys_are_ignored():
    manifest, problems = Manifest.parse({**LABELLED.to_json(), "later": 1})
    assert (manifest, problems) == (LABELLED, [])


def test_parse_collects_all_problems():
    data = LABELLED.to_json()
    data["options"] = {**data["options"], "tags": True, "policy": "rare", "seed": -1}
    data["shards"] = [*data["shards"], {"source": "x", "kind": "gif"}, 3]
    _, problems = Manifest.parse({**data, "engine": None})
    assert [problem.name for problem in problems] == [
        *("engine", "options.tags", "options.seed", "options.policy", "shards[2]", "shards[3]")
    ]
    assert problems[1] == Problem("options.tags", "a whole number from 1 to 100000", "True")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, f"manifest.json: format {FORMAT + 1}; this version of ovocr reads format {FORMAT}"),
        ({"vocabulary": {"size": 0, "sha256": ""}}, "manifest.json: vocabulary.size: expected a whole number from 1"),
        ({"labels": {"sha256": "0"}}, "manifest.json: options.label_columns: expected a list, found None"),
        ({"shards": "\n" * 9}, r"manifest.json: shards: expected a list, found '\\n\\n"),
    ],
)
def test_read_names_the_first_problem_in_one_line(tmp_path: Path, change: dict[str, Any], message: str):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**LABELLED.to_json(), "num_classes": 2, **change}))
    with pytest.raises(OvocrError, match=message) as caught:
        Manifest.read(path)
    assert "\n" not in str(caught.value)


def test_unchanged_manifest_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parsed = []
    parse = Manifest.parse
    monkeypatch.setattr(Manifest, "parse", lambda data: parsed.append(data) or parse(data))
    data_set = LabelledDataSet(tmp_path)
    LABELLED.write(data_set.manifest_path)
    assert [LabelledDataSet.open(tmp_path).manifest() for _ in range(3)] == [LABELLED] * 3
    assert len(parsed) == 1
    # A change is seen even if size and time stay the same.
    before = data_set.manifest_path.stat()
    data_set.manifest_path.write_text(data_set.manifest_path.read_text().replace("b.tar", "c.tar"))
    os.utime(data_set.manifest_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [entry.source for entry in data_set.manifest().shards] == ["a.tar", "c.tar"]
    assert len(parsed) == 2
