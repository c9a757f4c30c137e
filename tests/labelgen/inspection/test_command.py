"""``ovocr inspect`` from the command line."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ovocr.cli import main
from ovocr.dataset.layout import LabelledDataSet, OldFormatError
from ovocr.labelgen.shards.totals import Totals
from tests.old_format import make_old


def inspect(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_page_and_json(built: tuple[LabelledDataSet, Totals], tmp_path: Path) -> None:
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    code, text, errors = inspect(built[0].root, "--html", page, "--limit", 5, "--json", figures)
    assert (code, errors) == (0, "")
    assert text.splitlines() == ["5 of 8 images, from 2 shards", "  images that cannot be shown: 2", f"{page}: 0.1 MB"]
    assert page.read_text().count("<article") == 5
    value = json.loads(figures.read_text())
    assert value["counts"]["reasons"] == {"empty": 1, "no-text": 1, "no-word-in-vocabulary": 1, "truncated": 1}
    assert (value["sample"]["images"], value["sample"]["matching"], value["sample"]["seed"]) == (5, 8, 0)
    last = value["images"][-1]
    assert (last["shard"], last["key"], last["status"], last["size"]) == (1, "fox.jpg", "ok", [420, 90])
    assert [tag["word"] for tag in last["tags"]] == ["over", "the", "lazy", "fox"]
    assert [tag["slots"] for tag in last["tags"]] == [2, 1, 1, 1]
    assert [[place["line"] for place in tag["places"]] for tag in last["tags"]] == [[0]] * 4
    code, text, _ = inspect(built[0].root, "--html", page, "--limit", 5, "--json", "-")
    assert json.loads(text) == value


def test_json_has_every_place(make_lines: Callable[..., Path], tmp_path: Path) -> None:
    root = make_lines(["river stone", "a river"])
    _, text, _ = inspect(root, "--html", tmp_path / "page.html", "--json", "-")
    (image,) = json.loads(text)["images"]
    stored = pq.read_table(root / "records" / "00000.parquet").to_pylist()[0]["tags"]
    for tag in image["tags"]:
        places = [(place["line"], place["box"]) for place in stored if place["id"] == tag["id"]]
        assert [(place["line"], pytest.approx(place["box"])) for place in tag["places"]] == places
    assert [len(tag["places"]) for tag in image["tags"]] == [2, 1]


def test_labelled_data_set_of_format_2_is_refused_in_one_line(
    make_data_set: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_old(make_data_set([2])).root
    assert inspect(root, "--html", tmp_path / "page.html") == (1, "", f"ovocr: {OldFormatError(root)}\n")
    assert not (tmp_path / "page.html").exists()


def test_packed_data_set_of_format_2_is_shown(make_data_set: Callable[..., Path], tmp_path: Path) -> None:
    root = make_old(make_data_set([2], packed=True)).root
    code, text, _ = inspect(root, "--html", tmp_path / "page.html", "--json", "-")
    assert code == 0
    assert [tag["places"] for tag in json.loads(text)["images"][0]["tags"]] == [[], []]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--html", "."], 2, "--html .: is a folder"),
        (["--html", "-"], 2, "--html -: a page cannot be printed"),
        (["--html", "p.html", "--status", "good"], 2, "--status good: must be one of ok, dropped, quarantined"),
        (["--html", "p.html", "--limit", "1001"], 2, "--limit 1001: must be from 1 to 1,000"),
        (["--html", "p.html", "--word", "\x1bx"], 1, "--word \\x1bx: is not in"),
        (["--html", "p.html", "--key", "none.jpg"], 1, "no image matches --key none.jpg; leave out an option"),
        (["--html", "p.html", "--shard", "9"], 1, "--shard 9: "),
    ],
)
def test_usage_error_is_one_line(
    options: list[str],
    code: int,
    message: str,
    make_data_set: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = make_data_set([2])
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    found, text, errors = inspect(root, *options)
    assert (found, text) == (code, "")
    assert errors.startswith("ovocr: ")
    assert len(errors.splitlines()) == 1
    assert message in errors
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("records/00000.parquet", "records/00000.parquet: cannot be read: "),
        ("ocr/00000.parquet", "ocr/00000.parquet: cannot be read: "),
        ("stats/00000.json", "stats/00000.json: expected a JSON object, found invalid JSON: "),
        ("vocab.txt", "vocab.txt:1: the last line has no line end"),
    ],
)
def test_error_names_the_damaged_file(
    file: str, message: str, make_data_set: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_data_set([2])
    path = root / file
    path.write_bytes(path.read_bytes()[:3])
    code, _, errors = inspect(root, "--html", tmp_path / "page.html")
    assert (code, len(errors.splitlines())) == (1, 1)
    assert message in errors


@pytest.mark.parametrize("file", ["records/00001.parquet", "ocr/00001.parquet"])
@pytest.mark.parametrize("options", [[], ["--word", "river"], ["--key", "0-0.jpg"]])
@pytest.mark.parametrize("pipe", [False, True])
def test_unreadable_shard_is_left_out_and_named(
    file: str, options: list[str], pipe: bool, make_data_set: Callable[..., Path], tmp_path: Path
) -> None:
    root, page, figures = make_data_set([3, 3, 3]), tmp_path / "page.html", tmp_path / "figures.json"
    path = root / file
    if pipe:
        path.unlink()
        os.mkfifo(path)
    else:
        path.write_bytes(path.read_bytes()[:50])
    code, text, errors = inspect(root, "--html", page, "--json", figures, "--limit", 4, *options)
    value = json.loads(figures.read_text())
    assert code == 0
    if "--key" in options:
        assert text.splitlines()[0] == "1 of 1 images, from 1 shard"
    else:
        assert text.splitlines()[0] == "4 of 6 images, from 2 shards"
        assert [image["shard"] for image in value["images"]] == [0, 0, 2, 2]
    if "--key" in options and file.startswith("ocr"):  # no image of the shard is requested
        assert (errors, value["sample"]["left_out"]) == ("", [])
        return
    (line,) = errors.splitlines()
    assert line.startswith(f"ovocr: left out: shard 1: {path}: cannot be read: ")
    assert [f"ovocr: left out: {left_out}" for left_out in value["sample"]["left_out"]] == [line]
    assert page.read_text().count("Left out, because they cannot be read:") == 1


def test_shard_with_the_text_of_another_shard_is_left_out(make_data_set: Callable[..., Path], tmp_path: Path) -> None:
    root = make_data_set([2, 2])
    (root / "ocr" / "00000.parquet").write_bytes((root / "ocr" / "00001.parquet").read_bytes())
    code, _, errors = inspect(root, "--html", tmp_path / "page.html")
    assert code == 0
    assert "ocr/00000.parquet: does not list the images of " in errors
    assert (tmp_path / "page.html").read_text().count("<article") == 2
    code, _, errors = inspect(root, "--html", tmp_path / "other.html", "--shard", 0)
    assert (code, len(errors.splitlines())) == (1, 1)
    assert "no image matches --shard 0 in the readable shards; left out: " in errors
    assert not (tmp_path / "other.html").exists()
