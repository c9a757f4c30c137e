"""Both parts of a split are complete data sets: their images, counts and files, and what the commands make of them."""

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ovocr.base.errors import OvocrError
from ovocr.cli import main
from ovocr.dataset.holdout.rule import is_held_out
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text import find_shards
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.images import load_images
from ovocr.labelgen.options import BuildOptions, PackOptions, RelabelOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.provenance.provenance import explain
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from ovocr.recordio import RecordReader
from ovocr.vocab import Vocabulary
from ovocr.vocab.coverage.measuring import measure_coverage
from ovocr.vocab.sources import built_from, describe_sources
from tests.labelgen.data_sets import digests, rows
from tests.labelgen.split.conftest import text_of
from tests.labelgen.split.dividing import all_rows, divide

PARTS = ("train", "held-out")


def images(root: Path) -> list[tuple[str, bytes, bytes]]:
    """Returns key, labels and stored image of each record."""
    data_set, found = LabelledDataSet.open(root), []
    for shard in data_set.all_shards():
        keys = [row["key"] for row in rows(data_set.records_path(shard)) if row["status"] == "ok"]
        with RecordReader(data_set.rec_prefix(shard)) as reader:
            assert reader.ids.tolist() == list(range(len(keys)))
            found += [(key, r.labels.tobytes(), r.image) for key, r in zip(keys, reader, strict=True)]
    return found


def source_seed(sources: Sequence[str]) -> int:
    """Returns a seed with which a share of 0.5 holds out two of the sources."""
    return next(seed for seed in range(1000) if sum(is_held_out(source, 0.5, seed) for source in sources) == 2)


def assert_verified(root: Path) -> None:
    report = verify(VerifyOptions(root=root, workers=1), progress=False)
    assert report.findings == []
    assert report.notices == []


def test_parts_have_all_images_of_their_side(whole: LabelledDataSet, tmp_path: Path) -> None:
    totals = divide(whole.root, tmp_path / "out")
    before = all_rows(whole.root)
    for part, wanted in (("train", False), ("held-out", True)):
        root = tmp_path / "out" / part
        own = [row for row in before if is_held_out(row["key"], 0.3) is wanted]
        found = all_rows(root)
        ignored = ("record_id",)
        assert [{**row, **dict.fromkeys(ignored)} for row in found] == [
            {**row, **dict.fromkeys(ignored)} for row in own
        ]
        keys = {row["key"] for row in own}
        assert images(root) == [image for image in images(whole.root) if image[0] in keys]
        assert_verified(root)
        counts = totals.parts[part].counts
        for status in ("ok", "dropped", "quarantined"):
            assert getattr(counts, status) == sum(row["status"] == status for row in own) > 0
        assert counts.input == len(own) == counts.ok + counts.dropped + counts.quarantined
        tags = {tag["id"] for row in own for tag in row["tags"]}
        assert totals.parts[part].words == len(tags)
        assert totals.parts[part].groups == len(keys)
        manifest = LabelledDataSet.open(root).manifest()
        assert manifest.command == "split"
        assert manifest.split is not None
        assert (manifest.split.part, manifest.split.share, manifest.split.by) == (part, 0.3, "key")
    assert totals.share == pytest.approx(totals.parts["held-out"].counts.input / len(before))
    assert sum(part.counts.ignored for part in totals.parts.values()) == 2  # the notes in the archives


def test_words_that_are_only_held_out_are_counted(whole: LabelledDataSet, tmp_path: Path) -> None:
    totals = divide(whole.root, tmp_path / "out", share=0.9, seed=3)
    words: dict[str, set[int]] = {
        part: {tag["id"] for row in all_rows(tmp_path / "out" / part) for tag in row["tags"]} for part in PARTS
    }
    assert totals.words_only_held_out == len(words["held-out"] - words["train"]) > 0
    assert f"{totals.words_only_held_out} of their" in totals.format()


def test_same_shard_bytes_as_those_of_a_build(whole: LabelledDataSet, options: BuildOptions, tmp_path: Path) -> None:
    """The training part is what a build of its sources alone writes, if all of a source is in it."""
    totals = divide(whole.root, tmp_path / "out", by="source", share=0.5, seed=source_seed(options.sources))
    held = {entry.source for entry in LabelledDataSet.open(tmp_path / "out" / "held-out").manifest().shards}
    kept = [source for source in options.sources if source not in held]
    assert kept
    assert held
    build_labels(dataclasses.replace(options, sources=tuple(kept), out=tmp_path / "built"), progress=False)
    (built, part) = (digests(root) for root in (tmp_path / "built", tmp_path / "out" / "train"))
    built.pop("manifest.json")
    part.pop("manifest.json")
    assert part == built
    assert totals.divided == totals.copied == 0
    assert totals.linked == len(whole.manifest().shards)


@pytest.mark.parametrize("can_link", [True, False])
def test_whole_shards_are_linked_or_copied(
    whole: LabelledDataSet, options: BuildOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    if not can_link:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    before = digests(whole.root)
    totals = divide(whole.root, tmp_path / "out", by="source", share=0.5, seed=source_seed(options.sources))
    shards = len(whole.manifest().shards)
    assert (totals.linked, totals.copied, totals.divided) == ((shards, 0, 0) if can_link else (0, shards, 0))
    for part in PARTS:
        data_set = LabelledDataSet.open(tmp_path / "out" / part)
        assert_verified(data_set.root)
        for number in data_set.all_shards():
            assert (data_set.stats_path(number).stat().st_nlink > 1) is can_link
    shutil.rmtree(tmp_path / "out")
    assert digests(whole.root) == before


def test_images_of_a_group_stay_together(whole: LabelledDataSet, tmp_path: Path) -> None:
    """By a column of a table; images without a row are groups of their own."""
    keys = [row["key"] for row in all_rows(whole.root) if "/" in row["key"]]
    table = pa.table({"key": keys, "document": [key.partition("/")[0] for key in keys], "x": range(len(keys))})
    pq.write_table(table, tmp_path / "documents.parquet")
    groups = {"groups": tmp_path / "documents.parquet", "by": "document"}
    totals = divide(whole.root, tmp_path / "out", **groups)
    for part, wanted in (("train", False), ("held-out", True)):
        found = {row["key"] for row in all_rows(tmp_path / "out" / part)}
        names = {key.partition("/")[0] if "/" in key else key for key in found}
        assert {is_held_out(name, 0.3) for name in names} == {wanted}
        assert totals.parts[part].groups == len(names)
        assert_verified(tmp_path / "out" / part)
    assert totals.images_without_group == 46
    assert "46 images without a row in the table" in totals.format()
    # A source without any image on a side has no shard there.
    few = divide(whole.root, tmp_path / "few", share=0.08, **groups)
    assert few.parts["held-out"].shards < few.parts["train"].shards == len(whole.manifest().shards)
    assert few.linked > 0
    assert few.divided > 0
    for part in PARTS:
        assert_verified(tmp_path / "few" / part)


def test_seed_chooses_other_images(whole: LabelledDataSet, tmp_path: Path) -> None:
    divide(whole.root, tmp_path / "a", seed=1)
    divide(whole.root, tmp_path / "b", seed=2)
    first, second = ({row["key"] for row in all_rows(tmp_path / name / "held-out")} for name in "ab")
    assert first != second
    assert first == {row["key"] for row in all_rows(whole.root) if is_held_out(row["key"], 0.3, seed=1)}


def test_data_set_that_has_grown_keeps_what_was_held_out(
    options: BuildOptions, tar: Callable[..., Path], tmp_path: Path
) -> None:
    sources = options.sources[1:]
    small = dataclasses.replace(options, sources=sources, out=tmp_path / "labels")
    build_labels(small, progress=False)
    divide(tmp_path / "labels", tmp_path / "out")
    before = {part: {row["key"] for row in all_rows(tmp_path / "out" / part)} for part in PARTS}
    build_labels(dataclasses.replace(small, sources=(*sources, options.sources[0])), progress=False)
    with pytest.raises(OvocrError) as error:
        divide(tmp_path / "labels", tmp_path / "out")
    assert str(error.value) == (
        f"{tmp_path}/labels: has changed since it was split: it had 72 images in 5 shards and has 98 images in 6 "
        f"shards; choose another --out, or remove {tmp_path}/out and repeat the command: what is held out stays held "
        "out"
    )
    divide(tmp_path / "labels", tmp_path / "again")
    for part in PARTS:
        assert before[part] < {row["key"] for row in all_rows(tmp_path / "again" / part)}
        assert_verified(tmp_path / "again" / part)
        history = LabelledDataSet.open(tmp_path / "again" / part).manifest().history
        assert len(history) == 2
        assert history[-1].shards == len(LabelledDataSet.open(tmp_path / "again" / part).manifest().shards)


def test_relabelling_a_part_is_the_part_of_a_relabelled_data_set(
    whole: LabelledDataSet, other: str, tmp_path: Path
) -> None:
    """Images that come back are read from their sources, in which they have other places than in the part."""
    divide(whole.root, tmp_path / "parts")
    relabel(RelabelOptions(source=whole.root, out=tmp_path / "relabelled", vocab=other, workers=1), progress=False)
    divide(tmp_path / "relabelled", tmp_path / "wanted")
    for part in PARTS:
        options = RelabelOptions(source=tmp_path / "parts" / part, out=tmp_path / part, vocab=other, workers=1)
        totals = relabel(options, progress=False)
        assert totals.changes.gained_all > 0
        assert "source-out-of-reach" not in totals.counts["reasons"]
        found, wanted = digests(tmp_path / part), digests(tmp_path / "wanted" / part)
        assert found.pop("manifest.json") != wanted.pop("manifest.json")
        assert found == wanted
        assert_verified(tmp_path / part)
        assert LabelledDataSet.open(tmp_path / part).manifest().command == "relabel"
        # The images of a relabelled part have other places in the source, too.
        again = RelabelOptions(source=tmp_path / part, out=tmp_path / f"{part}-2", vocab=None, workers=1)
        relabel(again, progress=False)
        assert LabelledDataSet.open(tmp_path / f"{part}-2").manifest().splits


def test_list_of_paths_with_repeated_images(options: BuildOptions, other: str, tmp_path: Path) -> None:
    files = Path(options.sources[2])
    names = [f"{number:02d}.png" for number in (*range(23), 5, 10, 15)]
    (tmp_path / "list.txt").write_text("".join(f"{files}/{name}\n" for name in names))
    table = tmp_path / "lines.jsonl"
    lines = ({"key": f"{files}/{number:02d}.png", "text": text_of(number)} for number in range(23))
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    listed = dataclasses.replace(options, sources=(str(tmp_path / "list.txt"),), out=tmp_path / "l", lines=str(table))
    build_labels(listed, progress=False)
    # Images with rare words, 5 of which is repeated, are on both sides.
    seeds = (seed for seed in range(1000) if is_held_out(f"{files}/05.png", 0.5, seed))
    seed = next(seed for seed in seeds if not is_held_out(f"{files}/10.png", 0.5, seed))
    divide(tmp_path / "l", tmp_path / "out", share=0.5, seed=seed)
    for part in PARTS:
        again = RelabelOptions(source=tmp_path / "out" / part, out=tmp_path / part, vocab=other, workers=1)
        totals = relabel(again, progress=False)
        assert totals.changes.gained_all > 0
        assert "source-out-of-reach" not in totals.counts["reasons"]


def test_inspect_why_and_coverage_of_a_part(whole: LabelledDataSet, tmp_path: Path) -> None:
    divide(whole.root, tmp_path / "out")
    root = tmp_path / "out" / "held-out"
    inspected = InspectedDataSet.open(root)
    shown = 0
    for shard in inspected.shards:
        count = len(rows(inspected.files.records_path(shard)))
        for image in load_images(inspected, shard, list(range(count)), 600):
            assert hasattr(image.page_image, "jpeg") is (image.status.value != "quarantined"), image
            shown += 1
    assert shown == inspected.counts["input"]
    key = next(row["key"] for row in all_rows(root) if row["status"] == "ok")
    assert explain(root, key).stories[0].key == key
    with pytest.raises(OvocrError, match=r"no image|has no"):
        explain(tmp_path / "out" / "train", key)
    coverage = measure_coverage([root], Vocabulary.load(whole.vocabulary_path), workers=1)
    assert coverage.images == inspected.counts["ok"] + inspected.counts["dropped"]


def test_vocabulary_of_the_training_part_was_not_built_from_the_held_out_part(
    whole: LabelledDataSet, tmp_path: Path
) -> None:
    divide(whole.root, tmp_path / "out")
    train, held_out = (LabelledDataSet(tmp_path / "out" / part) for part in PARTS)
    of_train, of_whole = (
        Vocabulary(["one"], {"source": describe_sources(find_shards([data_set]))}) for data_set in (train, whole)
    )
    assert built_from(of_train, [train, held_out]) == [train]
    assert built_from(of_whole, [train, held_out, whole]) == [train, held_out, whole]


def test_packed_data_set(options: BuildOptions, tmp_path: Path) -> None:
    labels = [{"key": f"{number:02d}.png", "labels": [number, 100]} for number in range(20)]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labels))
    pack = PackOptions(
        sources=(options.sources[2],), labels=str(tmp_path / "ids.jsonl"), out=tmp_path / "packed", workers=1
    )
    pack_labels(pack, progress=False)
    totals = divide(tmp_path / "packed", tmp_path / "out")
    for part in PARTS:
        report = verify(VerifyOptions(root=tmp_path / "out" / part, workers=1), progress=False)
        assert report.findings == []
    assert "classes are in no training image" in totals.format() or "class is" in totals.format()
    with pytest.raises(OvocrError, match="is a part of a data set that `ovocr split` divided; add the images to"):
        pack_labels(dataclasses.replace(pack, out=tmp_path / "out" / "train"), progress=False)


def test_part_can_be_split_again(whole: LabelledDataSet, tmp_path: Path) -> None:
    divide(whole.root, tmp_path / "out")
    divide(tmp_path / "out" / "train", tmp_path / "again", seed=5)
    for part in PARTS:
        assert_verified(tmp_path / "again" / part)
    keys = [{row["key"] for row in all_rows(tmp_path / "again" / part)} for part in PARTS]
    assert keys[0] | keys[1] == {row["key"] for row in all_rows(tmp_path / "out" / "train")}


def test_command(whole: LabelledDataSet, tmp_path: Path) -> None:
    arguments = ["split", str(whole.root), "--share", ".3", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, "--json", str(tmp_path / "f.json")])
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["parts"]["train"]["images"] + figures["parts"]["held-out"]["images"] == 98
    assert figures["shards_divided"] == 6
    assert "held out: " in done.output
    again = CliRunner().invoke(main, arguments)
    assert "nothing to do: all shards are finished" in again.output
    assert f"written to {tmp_path}/out/train and {tmp_path}/out/held-out" in again.output


def test_parts_are_beside_the_data_set_by_default(whole: LabelledDataSet, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "labels")
    done = CliRunner().invoke(main, ["split", str(tmp_path / "labels"), "--share", ".3"])
    assert done.exit_code == 0, done.output
    for part in PARTS:
        assert_verified(tmp_path / "labels-split" / part)
