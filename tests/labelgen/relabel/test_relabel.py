"""Relabelling gives the same bytes as a build. Dropped images are read from their sources."""

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, RelabelOptions
from ovocr.labelgen.relabel.relabel import RelabelTotals, relabel
from ovocr.labelgen.shards.totals import Totals
from ovocr.recordio import RecordReader, RecordWriter
from ovocr.vocab import Vocabulary

Built = tuple[LabelledDataSet, Totals]
# "violin" and "quartz" occur in images that the first vocabulary dropped. "the" and other words are left out.
OTHER_WORDS = ["quartz", "fox", "window", "violin", "stone", "river"]


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def digests(root: Path) -> dict[str, str]:
    """Returns the hash of each file of the shards except statistics, which contain times."""
    paths = [path for folder in ("rec", "ocr", "records") for path in (root / folder).iterdir()]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def relabel_to(source: Path, out: Path, **options: Any) -> RelabelTotals:
    return relabel(RelabelOptions(source=source, out=out, **options), progress=False)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("other") / "other.txt"
    Vocabulary(OTHER_WORDS).save(path)
    return path


@pytest.fixture(scope="module")
def mixed(
    tmp_path_factory: pytest.TempPathFactory,
    vocabulary: Path,
    drawn: Callable[..., Image.Image],
    encoded: Callable[..., bytes],
    tar: Callable[..., Path],
) -> BuildOptions:
    """Returns options with a source of each kind. Each has an ok, a dropped and a quarantined image."""
    folder = tmp_path_factory.mktemp("mixed")
    fox = encoded(drawn("the quick brown fox"))
    many = encoded(drawn("river stone garden\nwindow lazy dog", (420, 120)), "PNG")
    violin = encoded(drawn("violin quartz"), "PNG")
    (folder / "files" / "名").mkdir(parents=True)
    for name, data in (("a.jpg", fox), ("b.txt", b"text"), ("名/v.png", violin), ("名/w.png", b"none")):
        (folder / "files" / name).write_bytes(data)
    archive = tar(folder / "pages.tar", [("x.json", b"{}"), ("cut.jpg", fox[:900]), ("v.png", violin), ("m.png", many)])
    with tarfile.open(archive, "a") as more:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "m.png"
        more.addfile(link)
        more.add(folder / "files" / "a.jpg", "last.jpg")
    with RecordWriter(folder / "records") as writer:
        for id, data in ((5, violin), (3, many), (8, b"")):
            writer.write(id, [0], data)
    cells = [{"bytes": data, "path": None} for data in (many, None, violin)]
    image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, "key": ["k1", "k2", "k3"]}), folder / "table.parquet")
    sources = ("files", "pages.tar", "records.rec", "table.parquet")
    return BuildOptions(
        sources=tuple(str(folder / name) for name in sources),
        out=folder / "out",
        vocab=str(vocabulary),
        workers=1,
        tags=2,
        seed=11,
    )


@pytest.fixture(scope="module")
def labelled(mixed: BuildOptions) -> LabelledDataSet:
    build_labels(mixed, progress=False)
    return LabelledDataSet.open(mixed.out)


@pytest.fixture(scope="module")
def fresh(mixed: BuildOptions, other: Path) -> dict[str, str]:
    """Returns the hashes of a build with the other vocabulary."""
    out = mixed.out.parent / "fresh"
    build_labels(dataclasses.replace(mixed, out=out, vocab=str(other)), progress=False)
    return digests(out)


def test_same_vocabulary_gives_the_same_bytes(labelled: LabelledDataSet, built: Built, tmp_path: Path):
    for number, data_set in enumerate((labelled, built[0])):
        out = tmp_path / str(number)
        totals = relabel_to(data_set.root, out)
        assert digests(out) == digests(data_set.root)
        assert {path.name for path in out.iterdir()} == {path.name for path in data_set.root.iterdir()}
        for name in ("vocab.txt", "vocab.txt.json"):
            assert (out / name).read_bytes() == (data_set.root / name).read_bytes()
        assert totals.changes.same == totals.changes.compared == totals.counts["ok"]
        assert (totals.changes.mean_jaccard, totals.changes.gained, totals.changes.lost) == (1.0, {}, {})


def test_different_vocabulary_gives_the_bytes_of_a_build(
    labelled: LabelledDataSet, fresh: dict[str, str], other: Path, tmp_path: Path
):
    totals = relabel_to(labelled.root, tmp_path / "out", vocab=str(other))
    assert digests(tmp_path / "out") == fresh
    assert len(fresh) == 16
    # One image of each source was dropped and now has a record.
    assert (totals.changes.gained_all, totals.changes.lost_all) == (4, 0)
    found = LabelledDataSet(tmp_path / "out")
    stats = [read_object(found.stats_path(number)) for number in range(4)]
    expected = [read_object(labelled.stats_path(number)) for number in range(4)]
    for name in ("source", "kind", "start", "stop", "input", "ignored", "quarantined", "lines", "words_found"):
        assert [shard.get(name) for shard in stats] == [shard.get(name) for shard in expected]
    assert [shard["ok"] for shard in stats] == [shard["ok"] + 1 for shard in expected] == [2, 3, 2, 2]
    with RecordReader(found.rec_prefix(2)) as records:
        assert records.ids.tolist() == [0, 1]


def test_relabelled_data_set_can_be_relabelled(
    labelled: LabelledDataSet, fresh: dict[str, str], other: Path, vocabulary: Path, tmp_path: Path
):
    relabel_to(labelled.root, tmp_path / "first", vocab=str(other))
    again = relabel_to(tmp_path / "first", tmp_path / "second", vocab=str(vocabulary))
    assert digests(tmp_path / "second") == digests(labelled.root)
    assert (again.changes.gained_all, again.changes.lost_all) == (0, 4)
    manifest = read_object(LabelledDataSet(tmp_path / "second").manifest_path)
    first = (tmp_path / "first" / "manifest.json").read_bytes()
    assert manifest.pop("relabelled")["manifest_sha256"] == hashlib.sha256(first).hexdigest()
    assert manifest == read_object(labelled.manifest_path)


def test_several_processes_give_the_same_bytes(
    labelled: LabelledDataSet, fresh: dict[str, str], other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("RELABELLED_AT_LEAST", "COMPARED_AT_LEAST"):
        monkeypatch.setattr(f"ovocr.labelgen.relabel.relabel.{name}", 1)
    monkeypatch.setattr("ovocr.labelgen.shards.worker_count.available_cores", lambda: 2)
    totals = relabel_to(labelled.root, tmp_path / "out", vocab=str(other), workers=2)
    assert digests(tmp_path / "out") == fresh
    alone = relabel_to(labelled.root, tmp_path / "alone", vocab=str(other), workers=1)
    assert totals.changes == alone.changes


KINDS = {"files": 0, "pages.tar": 1, "records.rec": 2, "table.parquet": 3}


@pytest.mark.parametrize("name", KINDS)
def test_images_of_a_missing_source_stay_dropped_until_it_is_restored(
    labelled: LabelledDataSet, fresh: dict[str, str], other: Path, mixed: BuildOptions, tmp_path: Path, name: str
):
    source = mixed.out.parent / name
    aside = source.with_name("aside")
    source.rename(aside)
    try:
        totals = relabel_to(labelled.root, tmp_path / "out", vocab=str(other))
    finally:
        aside.rename(source)
    assert totals.counts["reasons"]["source-out-of-reach"] == 1
    assert (totals.changes.gained_all, totals.counts["dropped"]) == (3, 1)
    found = LabelledDataSet(tmp_path / "out")
    (row,) = [row for row in rows(found.records_path(KINDS[name])) if row["status"] == "dropped"]
    assert (row["reason"], row["record_id"], row["tags"]) == ("source-out-of-reach", None, [])
    assert (row["words_found"], row["words_in_vocabulary"]) == (2, 2)
    assert row["detail"]
    # The shard is rebuilt only with the option.
    assert relabel_to(labelled.root, tmp_path / "out", vocab=str(other)).built == 0
    retried = relabel_to(labelled.root, tmp_path / "out", vocab=str(other), retry_out_of_reach=True)
    assert (retried.built, retried.counts["dropped"]) == (1, 0)
    assert digests(tmp_path / "out") == fresh


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("size", "421x90 pixels, 420x90 when it was read"),
        ("name", "has another image in its place"),
        ("cut", "has another image in its place"),
        ("not an image", "not-an-image: "),
        ("compressed", "has another image in its place"),
    ],
)
def test_changed_source_is_out_of_reach(
    labelled: LabelledDataSet,
    other: Path,
    mixed: BuildOptions,
    tmp_path: Path,
    drawn: Callable[..., Image.Image],
    encoded: Callable[..., bytes],
    tar: Callable[..., Path],
    change: str,
    detail: str,
):
    source = mixed.out.parent / "pages.tar"
    aside = shutil.copy(source, tmp_path / "aside.tar")
    violin = encoded(drawn("violin quartz", (421, 90)), "PNG")
    members = {
        "size": [("cut.jpg", b""), ("v.png", violin)],
        "name": [("v.png", violin), ("cut.jpg", b"")],
        "cut": [("cut.jpg", b"")],
        "not an image": [("cut.jpg", b""), ("v.png", b"none")],
    }
    try:
        if change in members:
            tar(source, members[change])
        else:
            source.write_bytes(b"\x1f\x8b" + source.read_bytes())
        relabel_to(labelled.root, tmp_path / "out", vocab=str(other))
    finally:
        shutil.copy(aside, source)
    found = rows(LabelledDataSet(tmp_path / "out").records_path(1))
    (row,) = [row for row in found if row["key"] == "v.png"]
    assert (row["status"], row["reason"]) == ("dropped", "source-out-of-reach")
    assert detail in row["detail"]
    # Images with records need no source.
    assert [row["record_id"] for row in found if row["status"] == "ok"] == [0, 1]


def test_sources_are_read_only_for_dropped_images_that_get_tags(
    labelled: LabelledDataSet, mixed: BuildOptions, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(shard: Any) -> Any:
        raise AssertionError(f"{shard.source} is read")

    monkeypatch.setattr("ovocr.labelgen.images.source_images.read_shard", refuse)
    Vocabulary(["fox", "garden"]).save(tmp_path / "v.txt")
    assert relabel_to(labelled.root, tmp_path / "out", vocab=str(tmp_path / "v.txt")).counts["ok"] == 5


def test_key_cannot_leave_the_source_folder(labelled: LabelledDataSet, other: Path, tmp_path: Path):
    hostile = tmp_path / "hostile"
    shutil.copytree(labelled.root, hostile)
    data_set = LabelledDataSet(hostile)
    secret = shutil.copy(
        Path(read_object(labelled.manifest_path)["shards"][0]["source"], "名", "v.png"), tmp_path / "secret.png"
    )
    for key in (str(secret), os.path.relpath(secret, read_object(labelled.manifest_path)["shards"][0]["source"])):
        for path in (data_set.ocr_path(0), data_set.records_path(0)):
            table = pq.read_table(path)
            keys = [
                key if name == "名/v.png" or name.endswith("secret.png") else name for name in table["key"].to_pylist()
            ]
            place = table.schema.get_field_index("key")
            pq.write_table(table.set_column(place, table.schema.field("key"), [pa.array(keys)]), path)
        out = tmp_path / f"out{len(key)}"
        relabel_to(hostile, out, vocab=str(other))
        reasons = {row["key"]: row["reason"] for row in rows(LabelledDataSet(out).records_path(0))}
        assert reasons[key] == "source-out-of-reach"


def test_killed_run_resumes_and_gives_the_same_bytes(
    labelled: LabelledDataSet, fresh: dict[str, str], other: Path, tmp_path: Path
):
    out = tmp_path / "killed"
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from ovocr.labelgen.relabel import shard\n"
        "from ovocr.labelgen.options import RelabelOptions\n"
        "from ovocr.labelgen.relabel.relabel import relabel\n"
        "original = shard._relabel\n"
        "def die_at_the_last_image_of_the_second_shard(image, labeller, images):\n"
        "    if image.key == 'last.jpg':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return original(image, labeller, images)\n"
        "shard._relabel = die_at_the_last_image_of_the_second_shard\n"
        f"relabel(RelabelOptions(source=Path({str(labelled.root)!r}), out=Path({str(out)!r}),\n"
        f"    vocab={str(other)!r}), progress=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert LabelledDataSet(out).finished_shards() == [0]
    assert not LabelledDataSet(out).records_path(1).exists()
    assert list(out.rglob("00001.*.partial"))
    first = (out / "stats" / "00000.json").stat().st_mtime_ns
    totals = relabel_to(labelled.root, out, vocab=str(other))
    assert totals.built == 3
    assert (out / "stats" / "00000.json").stat().st_mtime_ns == first
    assert digests(out) == fresh
    assert not list(out.rglob("*.partial"))


def test_slices_and_later_shards_give_the_same_bytes(
    labelled: LabelledDataSet, fresh: dict[str, str], other: Path, tmp_path: Path
):
    growing, out = tmp_path / "growing", tmp_path / "out"
    shutil.copytree(labelled.root, growing)
    stats = LabelledDataSet(growing).stats_path(3)
    later = stats.read_bytes()
    stats.unlink()
    sliced = relabel_to(growing, out, vocab=str(other), shard_slice=(1, 2))
    assert (sliced.shards, sliced.built, sliced.unfinished) == (1, 1, 1)
    assert "1 shards of the old data set are not finished" in sliced.format()
    relabel_to(growing, out, vocab=str(other))
    assert LabelledDataSet(out).finished_shards() == [0, 1, 2]
    stats.write_bytes(later)
    last = relabel_to(growing, out, vocab=str(other))
    assert (last.built, last.unfinished) == (1, 0)
    assert digests(out) == fresh


def test_manifests_are_parsed_once_whatever_the_number_of_shards(
    built: Built, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = {"vocab": other, "workers": 1}
    before = relabel_to(built[0].root, tmp_path / "new", **options)
    assert before.shards > 1
    parsed = []
    parse = Manifest.parse
    monkeypatch.setattr(Manifest, "parse", lambda data: parsed.append(data) or parse(data))
    (tmp_path / "new" / "manifest.json").write_bytes((tmp_path / "new" / "manifest.json").read_bytes() + b"\n")
    LabelledDataSet(tmp_path / "new").stats_path(0).unlink()
    after = relabel_to(built[0].root, tmp_path / "new", **options)
    assert (after.built, after.changes) == (1, before.changes)
    assert len(parsed) <= 2  # the old one may have been parsed before
