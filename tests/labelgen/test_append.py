"""A data set grows: new sources, new images in a folder, other versions of packages. What is finished stays."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.options import PackOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.shards import manifest as manifests
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from tests.labelgen.data_sets import rows

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write("a.jpg", ...) writes small, different images into a folder and returns the folder."""

    def write(*names: str, folder: str = "images") -> str:
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24 + len(os.listdir(path.parent)), 24), "white").save(path)
        return str(tmp_path / folder)

    return write


@pytest.fixture
def options(tmp_path: Path) -> PackOptions:
    """Returns options without sources: two images per shard, and class ids for the images a.jpg to z.jpg."""
    table = tmp_path / "labels.jsonl"
    letters = [chr(ord("a") + number) for number in range(26)]
    table.write_text("".join(f'{{"key": "{name}.jpg", "labels": [{id}]}}\n' for id, name in enumerate(letters)))
    return PackOptions(
        sources=("none",), out=tmp_path / "out", labels=str(table), tags=3, workers=1, shard_size=2, num_classes=26
    )


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """Returns time of change and content of every file in the folders of the shards."""
    paths = (path for path in root.glob("*/*") if path.is_file())
    return {path.relative_to(root).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def keys(data_set: LabelledDataSet) -> list[list[str]]:
    return [[row["key"] for row in rows(data_set.records_path(number))] for number in data_set.finished_shards()]


def run(options: PackOptions, *sources: str, **changes: Any) -> LabelledDataSet:
    pack_labels(replace(options, sources=sources, **changes), progress=False)
    return LabelledDataSet.open(options.out)


def assert_sound(data_set: LabelledDataSet) -> None:
    report = verify(VerifyOptions(root=data_set.root), progress=False)
    assert (report.findings, report.unfinished) == ([], [])


def test_new_images_of_a_folder_get_new_shards(options: PackOptions, write: Write):
    folder = write("b.jpg", "d.jpg", "f.jpg")
    data_set = run(options, folder)
    before = contents(data_set.root)
    assert "generations" not in read_object(data_set.manifest_path)
    write("a.jpg", "c.jpg", "g.jpg")  # before, between and after the first ones
    totals = pack_labels(replace(options, sources=(folder,)), progress=False)
    assert (totals.built, totals.images_built, totals.counts["ok"]) == (2, 3, 6)
    assert keys(data_set) == [["b.jpg", "d.jpg"], ["f.jpg"], ["a.jpg", "c.jpg"], ["g.jpg"]]
    assert before.items() <= contents(data_set.root).items()
    manifest = data_set.manifest()
    assert [(entry.start, entry.stop) for entry in manifest.shards] == [(0, 2), (2, 3), (3, 5), (5, 6)]
    assert [generation.shards for generation in manifest.generations] == [2, 4]
    generations = [read_object(data_set.stats_path(number)).get("generation", 0) for number in range(4)]
    assert generations == [0, 0, 1, 1]
    assert_sound(data_set)
    again = contents(data_set.root), data_set.manifest_path.read_bytes()
    assert pack_labels(replace(options, sources=(folder,)), progress=False).built == 0
    assert again == (contents(data_set.root), data_set.manifest_path.read_bytes())


def test_new_files_are_appended_in_any_order(options: PackOptions, write: Write, tar: Any, tmp_path: Path):
    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    first, second, third = (str(tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", image)])) for n in "bca")
    run(options, first)
    before = contents(options.out)
    data_set = run(options, third, first, second)  # as a glob sorts them
    assert keys(data_set) == [["b.jpg"], ["a.jpg"], ["c.jpg"]]
    assert before.items() <= contents(data_set.root).items()
    assert_sound(data_set)


def test_a_source_may_be_left_out_only_with_append(options: PackOptions, write: Write, tar: Any, tmp_path: Path):
    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    first, second = (str(tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", image)])) for n in "ab")
    data_set = run(options, first)
    manifest = data_set.manifest_path.read_bytes()
    message = rf"has 1 source that this command does not name: {first}; name all of them and the new ones .* --append$"
    with pytest.raises(OvocrError, match=message):
        run(options, second)
    assert data_set.manifest_path.read_bytes() == manifest
    os.remove(first)  # labelled, so it may be gone
    run(options, second, append=True)
    assert keys(data_set) == [["a.jpg"], ["b.jpg"]]
    assert_sound(data_set)


def test_another_file_of_the_same_name_and_size_is_appended(
    options: PackOptions, write: Write, tar: Any, tmp_path: Path
):
    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = (str(tar(tmp_path / n / "00000.tar", [(f"{n}.jpg", image)])) for n in "ab")
    data_set = run(options, first)
    run(options, second, append=True)
    assert keys(data_set) == [["a.jpg"], ["b.jpg"]]


def test_a_left_out_source_is_not_appended_again_from_another_folder(
    options: PackOptions, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write("a.jpg")
    monkeypatch.chdir(tmp_path)
    run(options, "images")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(OvocrError, match=f"{folder}: seems to be images, which the data set has; run the command in"):
        run(options, folder, append=True)


@pytest.mark.parametrize("spelling", ["./images", "images/", "images//", "{root}/images"])
def test_the_spelling_of_a_path_makes_no_difference(
    options: PackOptions, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
):
    write("a.jpg")
    monkeypatch.chdir(tmp_path)
    data_set = run(options, "images")
    manifest = data_set.manifest_path.read_bytes()
    run(options, spelling.format(root=tmp_path))
    assert data_set.manifest_path.read_bytes() == manifest
    if not os.path.isabs(spelling.format(root=tmp_path)):
        fresh = run(replace(options, out=tmp_path / "fresh"), spelling)
        assert fresh.manifest_path.read_bytes() == manifest
    write("b.jpg")
    run(options, spelling.format(root=tmp_path))
    assert {entry.source for entry in data_set.manifest().shards} == {"images"}
    assert keys(data_set) == [["a.jpg"], ["b.jpg"]]


def test_unfinished_shards_of_a_grown_folder_are_planned_again(options: PackOptions, write: Write):
    folder = write("b.jpg", "d.jpg", "f.jpg", "h.jpg", "j.jpg")
    data_set = run(options, folder, shard_slice=(1, 2))  # shards 0 and 2 are unfinished
    assert (data_set.finished_shards(), keys(data_set)) == ([1], [["f.jpg", "h.jpg"]])
    before = contents(data_set.root)
    write("a.jpg", "e.jpg", "z.jpg")
    run(options, folder)
    assert keys(data_set) == [["a.jpg", "b.jpg"], ["f.jpg", "h.jpg"], ["d.jpg"], ["e.jpg", "j.jpg"], ["z.jpg"]]
    assert before.items() <= contents(data_set.root).items()
    assert_sound(data_set)


def test_a_killed_append_resumes(options: PackOptions, write: Write):
    folder = write("b.jpg", "c.jpg", "d.jpg")
    data_set = run(options, folder)
    write("a.jpg", "e.jpg", "f.jpg", "g.jpg")
    run(options, folder, shard_slice=(3, 4))  # one of the two new shards
    assert data_set.finished_shards() == [0, 1, 3]
    manifest = data_set.manifest_path.read_bytes()
    run(options, folder)
    assert data_set.manifest_path.read_bytes() == manifest
    assert keys(data_set) == [["b.jpg", "c.jpg"], ["d.jpg"], ["a.jpg", "e.jpg"], ["f.jpg", "g.jpg"]]
    assert_sound(data_set)


def test_an_append_that_lost_its_lock_does_not_replace_the_manifest_of_another(
    options: PackOptions, write: Write, monkeypatch: pytest.MonkeyPatch
):
    folder = write("b.jpg", "c.jpg")
    data_set = run(options, folder)
    write("d.jpg", "e.jpg")
    write_manifest = manifests.Manifest.write

    def write_while_another_appends(self: manifests.Manifest, path: Path) -> None:
        monkeypatch.setattr(manifests.Manifest, "write", write_manifest)
        (data_set.root / ".manifest.lock").unlink()
        run(options, folder, write("f.jpg", folder="others"))
        write_manifest(self, path)

    monkeypatch.setattr(manifests.Manifest, "write", write_while_another_appends)
    with pytest.raises(OvocrError, match=r"out: its manifest.json was taken over by another process; run the same"):
        run(options, folder)
    assert keys(data_set) == [["b.jpg", "c.jpg"], ["d.jpg", "e.jpg"], ["f.jpg"]]
    assert_sound(data_set)
    assert not list(data_set.root.glob(".*"))


def test_a_list_grows_and_may_name_an_image_twice(options: PackOptions, write: Write, tmp_path: Path):
    write("a.jpg", "b.jpg", "c.jpg", folder=".")
    listed = tmp_path / "images.txt"
    listed.write_text("b.jpg\na.jpg\nb.jpg\n")
    data_set = run(options, str(listed))
    listed.write_text("c.jpg\nb.jpg\na.jpg\nb.jpg\nc.jpg\nb.jpg\n")
    run(options, str(listed))
    assert keys(data_set) == [["b.jpg", "a.jpg"], ["b.jpg"], ["c.jpg", "c.jpg"], ["b.jpg"]]
    assert_sound(data_set)


def test_files_that_were_named_before_may_be_left_out_with_append(options: PackOptions, write: Write):
    folder = Path(write("a.jpg", "b.jpg"))
    data_set = run(options, str(folder / "a.jpg"))
    with pytest.raises(
        OvocrError, match=f"{folder}: the command names 1 image fewer than when it was labelled, such as"
    ):
        run(options, str(folder / "b.jpg"))
    run(options, str(folder / "b.jpg"), append=True)
    assert keys(data_set) == [["a.jpg"], ["b.jpg"]]
    assert_sound(data_set)


def test_labelled_images_that_are_gone_are_named(options: PackOptions, write: Write):
    folder = write("a.jpg", "b.jpg", "c.jpg")
    data_set = run(options, folder)
    os.remove(Path(folder, "b.jpg"))
    message = (
        f"{folder}: the folder has 1 image fewer than when it was labelled, such as b.jpg; restore them, or .*--app"
    )
    with pytest.raises(OvocrError, match=message):
        run(options, folder)
    write("d.jpg")
    run(options, folder, append=True)
    assert keys(data_set) == [["a.jpg", "b.jpg"], ["c.jpg"], ["d.jpg"]]
    assert_sound(data_set)


def test_shards_are_not_redone_from_a_folder_that_lacks_images(options: PackOptions):
    with pytest.raises(UsageError, match="--append: leave it out with --retry-quarantined"):
        replace(options, append=True, retry_quarantined=True)


def test_images_that_are_gone_before_they_are_labelled_are_counted(options: PackOptions, write: Write):
    folder = write("a.jpg", "b.jpg", "c.jpg")
    run(options, folder, shard_slice=(1, 2))
    os.remove(Path(folder, "b.jpg"))
    with pytest.raises(OvocrError, match="the folder has 1 image fewer than when the data set was begun; restore"):
        run(options, folder)


def test_a_damaged_file_that_was_repaired_is_read_again_on_request(
    options: PackOptions, write: Write, tar: Any, tmp_path: Path
):
    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    path = tar(tmp_path / "t.tar", [("a.jpg", image), ("b.jpg", image)])
    whole = path.read_bytes()
    path.write_bytes(whole[:1600])
    other = str(tar(tmp_path / "u.tar", [("c.jpg", image)]))
    data_set = run(options, str(path), other)
    assert data_set.counts(0).reasons == {"damaged-source": 1}
    before = contents(data_set.root)
    path.write_bytes(whole)
    with pytest.raises(
        OvocrError, match="had 1,600 when it was labelled; add --retry-quarantined if it was repaired, or"
    ):
        run(options, str(path), other)
    run(options, str(path), other, retry_quarantined=True)
    assert keys(data_set) == [["a.jpg", "b.jpg"], ["c.jpg"]]
    assert data_set.manifest().shards[0].size == len(whole)
    after = contents(data_set.root)
    assert {name: after[name] for name in before if "00001" in name}.items() <= before.items()
    assert_sound(data_set)


def test_an_unfinished_file_may_have_another_size(options: PackOptions, write: Write, tar: Any, tmp_path: Path):
    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    first, second = (tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", image)]) for n in "ab")
    data_set = run(options, str(first), str(second), shard_slice=(0, 2))
    tar(second, [("b.jpg", image), *((f"{n}.jpg", image * 9) for n in "cdefghij")])
    run(options, str(first), str(second))
    assert [len(each) for each in keys(data_set)] == [1, 9]
    assert_sound(data_set)


def test_unfinished_shards_of_other_sources_are_named(options: PackOptions, write: Write, tar: Any, tmp_path: Path):
    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    first, second = (str(tar(tmp_path / f"{n}.tar", [(f"{n}.jpg", image)])) for n in "ab")
    run(options, first, second, shard_slice=(0, 2))
    totals = pack_labels(replace(options, sources=(first,), append=True), progress=False)
    assert totals.to_json()["unfinished_sources"] == [second]
    assert f"\nother sources of the data set that are unfinished: {second}\n" in totals.format()
    assert totals.format().endswith("nothing to do: all shards of these sources are finished")


def test_options_of_tables_need_no_table_with_append(options: PackOptions, write: Write, tar: Any, tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    pq.write_table(pa.table({"image": [image], "page": ["a.jpg"]}), tmp_path / "p.parquet")
    named = replace(options, image_key_column="page")
    data_set = run(named, str(tmp_path / "p.parquet"))
    run(named, str(tar(tmp_path / "b.tar", [("b.jpg", image)])), append=True)
    assert keys(data_set) == [["a.jpg"], ["b.jpg"]]


def test_a_file_of_another_size_is_refused(options: PackOptions, write: Write, tar: Any, tmp_path: Path):
    image = Path(write("x.jpg"), "x.jpg").read_bytes()
    path = tar(tmp_path / "a.tar", [("a.jpg", image)])
    run(options, str(path))
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(512))
    message = f"{path}: has {size + 512:,} bytes, had {size:,} when it was labelled; restore the file"
    with pytest.raises(OvocrError, match=message):
        run(options, str(path))


def test_new_images_may_have_another_table_with_append(options: PackOptions, write: Write, tmp_path: Path):
    data_set = run(options, write("a.jpg", "b.jpg"))
    table = tmp_path / "new.jsonl"
    table.write_text('{"key": "a.jpg", "labels": [25]}\n')
    new = replace(options, labels=str(table))
    folder = write("a.jpg", folder="new")
    with pytest.raises(
        OvocrError, match=r"made with another table \(its sha256 was \w+ and is \w+\); repeat that .*--app"
    ):
        run(new, str(tmp_path / "images"), folder)
    run(new, folder, append=True)
    assert keys(data_set) == [["a.jpg", "b.jpg"], ["a.jpg"]]
    assert [row["tags"] for row in rows(data_set.records_path(1))] == [[{"id": 25}]]
    assert len({generation.table_sha256 for generation in data_set.manifest().history}) == 2
    assert_sound(data_set)
    manifest = data_set.manifest_path.read_bytes()
    run(new, str(tmp_path / "images"), folder)  # the table is known now
    assert data_set.manifest_path.read_bytes() == manifest


def test_a_new_table_without_a_row_for_the_new_images_is_refused(options: PackOptions, write: Write, tmp_path: Path):
    data_set = run(options, write("a.jpg"))
    table = tmp_path / "new.jsonl"
    table.write_text('{"key": "elsewhere.jpg", "labels": [25]}\n')
    with pytest.raises(OvocrError, match="no image has a "):
        run(replace(options, labels=str(table)), write("b.jpg", folder="new"), append=True)
    assert keys(data_set) == [["a.jpg"]]


def upgrade(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Makes the installed version of a package differ."""
    version = manifests.version
    monkeypatch.setattr(manifests, "version", lambda name: "999.0" if name == package else version(name))
    if package == "pillow":
        monkeypatch.setattr("PIL.__version__", "999.0")


def test_a_run_continues_after_an_upgrade_that_changes_no_word(
    options: PackOptions, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = write("a.jpg", "b.jpg", "c.jpg")
    data_set = run(options, folder, shard_slice=(0, 2))
    was = data_set.manifest().versions["pyarrow"]
    upgrade(monkeypatch, "pyarrow")
    run(options, folder)
    expected = f"{data_set}: pyarrow was {was} and is 999.0; this changes no image and no word, so the run continues\n"
    assert capsys.readouterr().err == f"ovocr: {expected}"
    manifest = data_set.manifest()
    assert [generation.versions["pyarrow"] for generation in manifest.history] == [was, "999.0"]
    assert manifest.versions["pyarrow"] == was
    assert read_object(data_set.stats_path(1))["generation"] == 1
    assert_sound(data_set)


def test_another_upgrade_must_be_accepted(
    options: PackOptions, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = write("a.jpg", "b.jpg", "c.jpg")
    data_set = run(options, folder, shard_slice=(0, 2))
    before = data_set.manifest_path.read_bytes()
    upgrade(monkeypatch, "pillow")
    with pytest.raises(OvocrError, match=r"made with other versions: pillow was [\d.]+ and is 999.0; install .* --acc"):
        run(options, folder)
    assert data_set.manifest_path.read_bytes() == before
    run(options, folder, accept_upgrade=True)
    assert capsys.readouterr().err.count("pillow was") == 1
    assert [generation.versions["pillow"] == "999.0" for generation in data_set.manifest().history] == [False, True]
    assert_sound(data_set)
    assert pack_labels(replace(options, sources=(folder,)), progress=False).built == 0  # accepted once


def test_a_finished_data_set_may_be_checked_with_other_versions(
    options: PackOptions, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = write("a.jpg")
    data_set = run(options, folder)
    before = data_set.manifest_path.read_bytes()
    upgrade(monkeypatch, "pillow")
    assert pack_labels(replace(options, sources=(folder,)), progress=False).built == 0
    assert (data_set.manifest_path.read_bytes(), capsys.readouterr().err) == (before, "")


def test_a_run_stops_if_another_command_gives_its_shard_other_images(
    options: PackOptions, write: Write, monkeypatch: pytest.MonkeyPatch
):
    from ovocr.labelgen.shards.destination import Destination

    folder = write("b.jpg", "c.jpg")
    settle = Destination.settle

    def grow_meanwhile(self: Destination, *arguments: Any, **named: Any) -> None:
        settle(self, *arguments, **named)
        monkeypatch.setattr(Destination, "settle", settle)
        write("a.jpg")
        run(options, folder, shard_slice=(1, 2))  # plans shard 0 again

    monkeypatch.setattr(Destination, "settle", grow_meanwhile)
    with pytest.raises(OvocrError, match="another command has changed shard 0 during the run; start the command again"):
        run(options, folder)
    data_set = run(options, folder)
    assert keys(data_set) == [["a.jpg", "b.jpg"], ["c.jpg"]]
    assert_sound(data_set)


def test_a_run_without_an_image_exits_1(options: PackOptions, tar: Any, tmp_path: Path):
    path = tar(tmp_path / "texts.tar", [("a.txt", b"text")])
    arguments = [str(path), "--labels", options.labels, "--out", str(options.out), "--workers", "1"]
    result = CliRunner().invoke(main, ["pack-labels", *arguments])
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, "ovocr: the sources have no image")


def test_a_run_without_a_labelled_image_exits_1_and_names_damaged_files(options: PackOptions, tmp_path: Path):
    for name in "abcdefg":
        (tmp_path / f"{name}.tar").write_bytes(b"no archive" * 100)
    arguments = [str(tmp_path / "*.tar"), "--labels", options.labels, "--out", str(options.out), "--workers", "1"]
    result = CliRunner().invoke(main, ["pack-labels", *arguments])
    assert result.exit_code == 1
    named = ", ".join(str(tmp_path / f"{name}.tar") for name in "abcde")
    assert f"\n  damaged-source: 7\ndamaged: {named} and 2 more\n" in result.output
    assert "ovocr: none of 7 images was labelled (damaged-source: 7)\n" in result.output
    result = CliRunner().invoke(main, ["pack-labels", *arguments, "--json", "-"])
    assert json.loads(result.stdout)["damaged_sources"] == [str(tmp_path / f"{name}.tar") for name in "abcdefg"]
    # A slice may have no labelled image.
    shutil.rmtree(options.out)
    assert CliRunner().invoke(main, ["pack-labels", *arguments, "--shard-slice", "0/2"]).exit_code == 0
