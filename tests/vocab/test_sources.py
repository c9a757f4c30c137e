"""The data sets that a vocabulary was built from are recognised later."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.text import find_shards
from ovocr.vocab import Vocabulary
from ovocr.vocab.sources import built_from, built_with_holdout, describe_sources
from tests.manifests import make_manifest

WriteShard = Callable[..., None]
FOLDER = ShardEntry(source="some/folder", kind="folder", start=0, stop=9, names_sha256="ab")


def make(root: Path, write_shard: WriteShard, *sources: str, **changes: object) -> LabelledDataSet:
    write_shard(root, 0, [["one"]])
    shards = tuple(ShardEntry(source=source, kind="tar", size=512) for source in sources)
    manifest = replace(make_manifest([], vocabulary=Vocabulary(["word"])), shards=shards)
    data_set = LabelledDataSet(root)
    replace(manifest, **changes).write(data_set.manifest_path)
    return data_set


def built(*data_sets: LabelledDataSet) -> Vocabulary:
    return Vocabulary(["one"], {"source": describe_sources(find_shards(data_sets))})


def test_description_names_manifest_shards_and_inputs(tmp_path: Path, write_shard: WriteShard) -> None:
    (entry,) = describe_sources(find_shards([make(tmp_path / "a", write_shard, "x.tar", "y.tar")]))
    assert set(entry) == {"manifest_sha256", "shards", "inputs"}
    assert (entry["shards"], entry["inputs"]["shards"]) == (1, 2)


def test_same_images_are_found_in_other_data_sets(tmp_path: Path, write_shard: WriteShard) -> None:
    first = make(tmp_path / "a", write_shard, "in/x.tar", "in/y.tar")
    moved = make(tmp_path / "moved", write_shard, "/mnt/in/x.tar", "/mnt/in/y.tar", max_pixels=5)
    appended = make(tmp_path / "appended", write_shard, "in/x.tar", "in/y.tar", "in/z.tar")
    part = make(tmp_path / "part", write_shard, "in/x.tar")
    other = make(tmp_path / "other", write_shard, "in/x.tar", "in/z.tar")
    roots = [first, moved, appended, part, other]
    assert built_from(built(first), roots) == [first, moved, appended]
    assert built_from(built(other, part), roots) == [first, moved, appended, part, other]
    assert built_from(built(part), [other]) == [other]  # it begins with the same shard


def test_relabelled_data_set_is_found_by_the_manifest_that_it_names(tmp_path: Path, write_shard: WriteShard) -> None:
    """Vocabularies of older versions have no inputs in their description."""
    first = make(tmp_path / "a", write_shard, "x.tar")
    (entry,) = describe_sources(find_shards([first]))
    old = Vocabulary(["one"], {"source": [{key: entry[key] for key in ("manifest_sha256", "shards")}]})
    relabelled = {"manifest_sha256": entry["manifest_sha256"], "versions": {}}
    new = make(tmp_path / "b", write_shard, "x.tar", relabelled=relabelled, max_pixels=5)
    assert built_from(old, [first, new, make(tmp_path / "c", write_shard, "x.tar", max_pixels=6)]) == [first, new]


def test_folders_are_compared_by_their_images(tmp_path: Path, write_shard: WriteShard) -> None:
    first = make(tmp_path / "a", write_shard, shards=(FOLDER,))
    other = make(tmp_path / "b", write_shard, shards=(replace(FOLDER, names_sha256="cd"),))
    assert built_from(built(first), [first, other]) == [first]


def test_other_descriptions_name_no_data_set(tmp_path: Path, write_shard: WriteShard, lexicon: Vocabulary) -> None:
    root = make(tmp_path / "a", write_shard, "x.tar")
    assert built_from(lexicon, [root]) == []
    for source in (None, "a list", [1, {"inputs": 3}, {"inputs": {"shards": "1"}}, {"inputs": {"shards": 7}}, {}]):
        assert built_from(Vocabulary(["one"], {"source": source}), [root]) == []


def test_holdout_of_the_description() -> None:
    assert built_with_holdout(Vocabulary(["one"], {"options": {"holdout": 0.1}})) == 0.1
    for settings in ({}, {"options": 3}, {"options": {}}, {"options": {"holdout": "x"}}, {"options": {"holdout": 7}}):
        assert built_with_holdout(Vocabulary(["one"], settings)) == 0.0
