"""Coverage of the text that a vocabulary was built from is marked, and of text that it was not built from measured."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ovocr.cli import main
from ovocr.dataset.holdout.rule import is_held_out
from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

WriteShard = Callable[..., None]
KEYS = [f"{number}.jpg" for number in range(60)]
HELD_OUT = [number for number, key in enumerate(KEYS) if is_held_out(key, 0.1)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["vocab", *arguments])


def figures(*arguments: str) -> dict[str, object]:
    done = run("coverage", *arguments, "--json", "-", "--workers", "1")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


@pytest.fixture
def folder(tmp_path: Path, write_shard: WriteShard, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes data sets a and b. Each image has the word common and a word of its own."""
    for name in "ab":
        write_shard(tmp_path / name, 0, [[f"common {name}{'x' * number}q"] for number in range(60)])
        make_manifest([f"{name}.tar"], vocabulary=Vocabulary(["word"])).write(tmp_path / name / "manifest.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_measuring_the_text_that_a_vocabulary_was_built_from_warns(folder: Path) -> None:
    run("build", "a", "--out", "w.txt")
    warning = (
        "w.txt was built from a, so this is not its coverage of other text; build it with `vocab build --holdout 0.1` "
        "and measure with `vocab coverage --holdout 0.1`"
    )
    found = figures("a", "b", "--vocab", "w.txt")
    assert (found["warnings"], found["built_from"], found["built_with_holdout"]) == ([warning], ["a"], 0.0)
    done = run("coverage", "a", "--vocab", "w.txt", "--html", "p.html")
    assert done.stdout.splitlines()[0] == f"warning: {warning}"
    assert "w.txt was built from a, so this" in (folder / "p.html").read_text(encoding="utf-8")
    for arguments in (("b", "--vocab", "w.txt"), ("a",)):
        found = figures(*arguments)
        assert (found["warnings"], found["built_from"], found["holdout"]) == ([], [], None)


def test_held_out_images_measure_text_that_the_vocabulary_was_not_built_from(folder: Path) -> None:
    run("build", "a", "--out", "w.txt", "--holdout", "0.1")
    vocabulary = Vocabulary.load("w.txt")
    assert len(vocabulary) == 1 + 60 - len(HELD_OUT)
    found = figures("a", "--vocab", "w.txt", "--holdout", "0.1")
    assert (found["images"], found["tokens"], found["token_coverage"]) == (len(HELD_OUT), 2 * len(HELD_OUT), 0.5)
    assert (found["holdout"], found["warnings"], found["built_with_holdout"]) == (0.1, [], 0.1)
    assert {listed["example"] for listed in found["left_out"]} == {KEYS[number] for number in HELD_OUT}
    table = run("coverage", "a", "--vocab", "w.txt", "--holdout", "0.1").stdout.splitlines()
    assert table[0].split() == ["held-out", "images", "(0.1)", str(len(HELD_OUT))]
    smaller = figures("a", "--vocab", "w.txt", "--holdout", "0.09")  # part of what was left out
    assert smaller["token_coverage"] == 0.5


def test_all_images_of_a_vocabulary_with_holdout_still_warn(folder: Path) -> None:
    run("build", "a", "--out", "w.txt", "--holdout", "0.1")
    (warning,) = figures("a", "--vocab", "w.txt")["warnings"]
    assert warning.endswith("; measure the images that it was not built from with --holdout 0.1")


@pytest.mark.parametrize(("built", "how"), [((), "without --holdout"), (("--holdout", "0.05"), "with --holdout 0.05")])
def test_vocabulary_that_was_built_from_these_images_is_refused(folder: Path, built: tuple[str, ...], how: str) -> None:
    run("build", "a", "--out", "w.txt", *built)
    done = run("coverage", "b", "a", "--vocab", "lexicon", "--vocab", "w.txt", "--holdout", "0.1")
    assert (done.exit_code, done.stderr) == (
        2,
        f"ovocr: --holdout 0.1: w.txt was built from a {how}, so from images that would be measured; build it with "
        "`ovocr vocab build --holdout 0.1`\n",
    )


def test_other_vocabularies_can_be_measured_on_held_out_images(folder: Path) -> None:
    run("build", "b", "--out", "w.txt")
    assert figures("a", "--vocab", "lexicon", "--vocab", "w.txt", "--holdout", "0.1")["warnings"] == []
    (folder / "list.txt").write_text("common\n")
    assert figures("a", "--vocab", "list.txt", "--holdout", "0.1")["warnings"] == [
        "list.txt does not say what it was built from; it may have been built from these images"
    ]
    assert figures("a", "--vocab", "list.txt")["warnings"] == []


@pytest.mark.parametrize("share", ["0", "1", "-1", "nan"])
def test_impossible_share_is_refused(folder: Path, share: str) -> None:
    done = run("coverage", "a", "--holdout", share)
    assert done.exit_code == 2
    assert "must be above 0 and below 1" in done.stderr
    if share != "0":  # vocab build: no image is held out
        assert run("build", "a", "--out", "w.txt", "--holdout", share).exit_code == 2
        assert not (folder / "w.txt").exists()


def test_share_without_an_image_is_refused(folder: Path) -> None:
    done = run("coverage", "a", "--holdout", "0.0001")
    assert (done.exit_code, done.stderr) == (
        1,
        "ovocr: --holdout 0.0001: holds out no image of a; use a larger share\n",
    )


def test_a_data_set_whose_tags_have_limits_is_named(folder: Path) -> None:
    data_set = LabelledDataSet(folder / "a")
    manifest = data_set.manifest()
    limited = dataclasses.replace(manifest.policy, min_score=0.9, min_letters=2)
    dataclasses.replace(manifest, policy=limited).write(data_set.manifest_path)
    assert figures("a", "b")["warnings"] == [
        "a was labelled with --min-score 0.9 --min-letters 2, so not all of its words are tags; "
        "the figures of words are those of all text that was read"
    ]
