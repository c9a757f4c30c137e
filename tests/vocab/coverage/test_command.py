"""``ovocr vocab coverage`` from the command line to its files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ovocr.cli import main


@pytest.fixture
def folder(tmp_path: Path, write_shard: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Path:
    write_shard(tmp_path / "labels", 0, [["one two", "three"], ["one"]])
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.txt").write_text("two\none\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def coverage(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["vocab", "coverage", "labels", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_command_reports_one_vocabulary(folder: Path) -> None:
    table = coverage("--vocab", "a.txt", "--json", "x.json", "--html", "x.html")
    assert "  in vocabulary                              2   50.0%" in table.splitlines()
    figures = json.loads((folder / "x.json").read_text())
    assert (figures["vocabulary"], figures["images"], figures["images_without_words"]) == ("a.txt", 2, 0)
    assert (figures["token_coverage"], figures["distinct_coverage"]) == (0.5, 1 / 3)
    assert (figures["legibility"]["tags"], figures["legibility"]["data_sets"][0]["name"]) == (3, "labels")
    page = (folder / "x.html").read_text()
    assert page.endswith("</html>\n")
    assert '"words":["one","three","two"]' in page
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt", "labels", "x.html", "x.json"]


def test_command_compares_two_vocabularies(folder: Path) -> None:
    figures = json.loads(coverage("--vocab", "a.txt", "--vocab", "b.txt", "--json", "-"))
    assert [each["token_coverage"] for each in figures["vocabularies"]] == [0.5, 0.75]
    assert [each["tokens"] for each in figures["comparison"]["differences"]] == [0, 1]


def test_lexicon_is_the_default(folder: Path) -> None:
    assert json.loads(coverage("--json", "-", "--workers", "1"))["vocabulary_size"] == 365187
