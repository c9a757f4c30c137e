"""--min-score and --min-letters in whole runs: build-labels, verify, relabel, why, inspect. Lines come from a table."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ovocr.base.errors import UsageError
from ovocr.cli import main
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, RelabelOptions
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from ovocr.vocab import Vocabulary

WORDS = ["the", "a", "fox", "river", "ok", "年"]
LINES: dict[str, list[tuple[str, float]]] = {
    "good.jpg": [("the fox", 0.95), ("a river", 0.6), ("fox", 0.42)],
    "low.jpg": [("river", 0.42), ("the", 0.3)],
    "short.jpg": [("a", 0.9), ("ok 年", 0.45), ("a", 0.8)],
    "prices.jpg": [("12.50", 0.99)],
    "blank.jpg": [],
    "unknown.jpg": [("violin", 0.9)],
}


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def outcomes(root: Path) -> dict[str, tuple[str | None, list[str]]]:
    """Maps keys to the reason and the words of the places."""
    rows = pq.read_table(LabelledDataSet(root).records_path(0)).to_pylist()
    return {row["key"]: (row["reason"], [WORDS[tag["id"]] for tag in row["tags"]]) for row in rows}


def read_shard(root: Path) -> dict[str, bytes]:
    """Returns the bytes of the data files of the shard."""
    return {name: path.read_bytes() for name, path in LabelledDataSet(root).data_files(0, with_text=True).items()}


def change_reason(data_set: LabelledDataSet, key: str, reason: str) -> None:
    """Changes the reason of an image in the records."""
    table = pq.read_table(data_set.records_path(0))
    rows = [{**row, "reason": reason} if row["key"] == key else row for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), data_set.records_path(0))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, tar: Any, encoded: Any, drawn: Any) -> dict[str, Any]:
    """Returns the options of build-labels except --out."""
    folder = tmp_path_factory.mktemp("limits")
    Vocabulary(WORDS).save(folder / "words.txt")
    source = tar(folder / "x.tar", [(key, encoded(drawn(key))) for key in LINES])
    rows = [
        {"key": key, "lines": [{"text": text, "score": score} for text, score in lines]} for key, lines in LINES.items()
    ]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "sources": (str(source),),
        "vocab": str(folder / "words.txt"),
        "lines": str(folder / "t.jsonl"),
        "workers": 1,
        "tags": 4,
    }


@pytest.fixture(scope="module")
def plain(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "out"
    build_labels(BuildOptions(**options, out=out), progress=False)
    return out


@pytest.fixture(scope="module")
def limited(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("limited") / "out"
    build_labels(BuildOptions(**options, out=out, min_score=0.5, min_letters=2), progress=False)
    return out


def test_without_limits_every_word_of_the_vocabulary_is_a_tag(plain: Path):
    assert outcomes(plain) == {
        "good.jpg": (None, ["the", "fox", "a", "river", "fox"]),
        "low.jpg": (None, ["river", "the"]),
        "short.jpg": (None, ["a", "ok", "年", "a"]),
        "prices.jpg": ("no-word", []),
        "blank.jpg": ("no-text", []),
        "unknown.jpg": ("no-word-in-vocabulary", []),
    }
    assert not {"min_score", "min_letters"} & set(read_object(plain / "manifest.json")["options"])


def test_limits_leave_words_out_and_drop_images_with_their_own_reasons(limited: Path):
    assert outcomes(limited) == {
        "good.jpg": (None, ["the", "fox", "river"]),
        "low.jpg": ("below-min-score", []),
        "short.jpg": ("below-min-letters", []),
        "prices.jpg": ("no-word", []),
        "blank.jpg": ("no-text", []),
        "unknown.jpg": ("no-word-in-vocabulary", []),
    }
    options = read_object(limited / "manifest.json")["options"]
    assert (options["min_score"], options["min_letters"]) == (0.5, 2)


def test_statistics_add_up(plain: Path, limited: Path):
    stats = read_object(limited / "stats" / "00000.json")
    assert (stats["input"], stats["ok"], stats["dropped"], stats["quarantined"], stats["tags"]) == (6, 1, 5, 0, 3)
    reasons = ("below-min-letters", "below-min-score", "no-text", "no-word", "no-word-in-vocabulary")
    assert stats["reasons"] == dict.fromkeys(reasons, 1)
    # The counts of text are those of the text, whatever becomes a tag.
    before = read_object(plain / "stats" / "00000.json")
    for name in ("lines", "words_found", "words_in_vocabulary"):
        assert stats[name] == before[name]


def test_verify_recomputes_with_the_limits(plain: Path, limited: Path, tmp_path: Path):
    assert [verify(VerifyOptions(root=root), progress=False).findings for root in (plain, limited)] == [[], []]
    manifest = read_object(limited / "manifest.json")
    manifest["options"]["min_score"] = 0.4
    (limited / "manifest.json").rename(tmp_path / "kept.json")
    try:
        (limited / "manifest.json").write_text(json.dumps(manifest))
        found = [finding.where for finding in verify(VerifyOptions(root=limited), progress=False).findings]
        assert found == ["row 0 (good.jpg), place 3", "row 1 (low.jpg), status", "row 2 (short.jpg), status"]
        manifest["options"].pop("min_score")
        (limited / "manifest.json").write_text(json.dumps(manifest))
        findings = verify(VerifyOptions(root=limited), progress=False).findings
        assert "reason" in " ".join(finding.where for finding in findings if "low.jpg" in finding.where)
    finally:
        (tmp_path / "kept.json").replace(limited / "manifest.json")


def test_older_data_sets_with_no_text_for_lines_without_a_word_are_valid(plain: Path, tmp_path: Path):
    """Before there was no-word, prices.jpg was dropped as no-text."""
    old = LabelledDataSet(tmp_path / "old")
    relabel(RelabelOptions(source=plain, out=old.root), progress=False)
    change_reason(old, "prices.jpg", "no-text")
    stats = read_object(old.stats_path(0))
    stats["reasons"] = {"no-text": 2, "no-word-in-vocabulary": 1}
    stats["files"]["records"] = vars(FileDescription.of(old.records_path(0)))
    old.stats_path(0).write_text(json.dumps(stats))
    assert outcomes(old.root)["prices.jpg"] == ("no-text", [])
    assert verify(VerifyOptions(root=old.root), progress=False).findings == []

    relabel(RelabelOptions(source=old.root, out=tmp_path / "new"), progress=False)
    assert outcomes(tmp_path / "new")["prices.jpg"] == ("no-word", [])
    assert read_shard(tmp_path / "new") == read_shard(plain)


def test_no_text_is_wrong_for_an_image_with_words(plain: Path, tmp_path: Path):
    copy = LabelledDataSet(tmp_path / "copy")
    relabel(RelabelOptions(source=plain, out=copy.root), progress=False)
    change_reason(copy, "unknown.jpg", "no-text")
    findings = verify(VerifyOptions(root=copy.root), progress=False).findings
    assert "row 5 (unknown.jpg), status" in [finding.where for finding in findings]


def test_relabel_sets_and_keeps_limits(plain: Path, limited: Path, tmp_path: Path):
    run("relabel", plain, "--out", tmp_path / "a", "--min-score", ".5", "--min-letters", "2")
    assert read_shard(tmp_path / "a") == read_shard(limited)
    run("relabel", limited, "--out", tmp_path / "b")  # by default as in the data set
    assert read_shard(tmp_path / "b") == read_shard(limited)
    run("relabel", limited, "--out", tmp_path / "c", "--min-score", "0", "--min-letters", "1")
    assert read_shard(tmp_path / "c") == read_shard(plain)
    assert verify(VerifyOptions(root=tmp_path / "a"), progress=False).findings == []


def test_frequencies_count_only_words_that_can_be_tags(plain: Path, tmp_path: Path):
    relabel(RelabelOptions(source=plain, out=tmp_path / "all", policy="idf"), progress=False)
    relabel(RelabelOptions(source=plain, out=tmp_path / "some", policy="idf", min_score=0.5), progress=False)
    text = (tmp_path / "all" / "frequencies.tsv").read_text(encoding="utf-8")
    assert text == "word\timages\n\t6\na\t2\nriver\t2\nthe\t2\nfox\t1\nok\t1\n年\t1\n"
    text = (tmp_path / "some" / "frequencies.tsv").read_text(encoding="utf-8")
    assert text == "word\timages\n\t6\na\t2\nfox\t1\nriver\t1\nthe\t1\n"


def test_why_names_the_limit(limited: Path):
    assert '(score 0.42 below --min-score 0.5): line 0 "river" = (river)' in run("why", limited, "low.jpg", "river")
    assert '(1 letter, below --min-letters 2): line 0 "a" = (a)' in run("why", limited, "short.jpg", "a")
    lines = run("why", limited, "low.jpg").splitlines()
    assert "  status  dropped: below-min-score: river: score 0.42 below --min-score 0.5" in lines
    assert "  left out  the in line 1: score 0.3 below --min-score 0.5" in lines
    assert "  (words in parentheses are in the vocabulary but left out)" in lines
    lines = run("why", limited, "good.jpg").splitlines()
    assert "  left out  a in line 1: 1 letter, below --min-letters 2" in lines
    assert "  left out  fox in line 2: score 0.42 below --min-score 0.5" in lines
    assert "  tag 2 fox" in lines  # its other place
    assert '    line 1 "a river" = (a) + river, score 0.6000' in lines
    (image,) = json.loads(run("why", limited, "good.jpg", "--json", "-"))["images"]
    assert image["left_out"][0] == {"word": "a", "line": 1, "why": "1 letter, below --min-letters 2"}
    assert [place["word"] for tag in image["tags"] for place in tag["places"]] == [0, 1, 1]


def test_why_shows_only_some_of_many_words_that_are_left_out(options: dict[str, Any], tmp_path: Path):
    table = tmp_path / "t.jsonl"
    table.write_text(json.dumps({"key": "good.jpg", "lines": [{"text": "a " * 20 + "fox", "score": 0.9}]}) + "\n")
    build_labels(BuildOptions(**{**options, "lines": str(table)}, out=tmp_path / "out", min_letters=2), progress=False)
    lines = run("why", tmp_path / "out", "good.jpg").splitlines()
    assert sum("left out  a in line 0" in line for line in lines) == 8
    assert "  left out  12 other words" in lines


def test_inspect_marks_lines_and_words_that_are_not_used(limited: Path, tmp_path: Path):
    run("inspect", limited, "--html", tmp_path / "p.html", "--status", "ok")
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "0.420, not used</span>" in page
    assert page.count("not used</span>") == 1
    assert 'title="score 0.42 below --min-score 0.5">fox</em>' in page
    assert 'title="1 letter, below --min-letters 2">a</em>' in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-score", "1.5"), "--min-score 1.5: must be from 0 to 1"),
        (("--min-score", "nan"), "--min-score nan: must be from 0 to 1"),
        (("--min-letters", "0"), "--min-letters 0: must be from 1 to 100"),
    ],
)
def test_wrong_limits_are_refused(arguments: tuple[str, str], message: str, plain: Path, tmp_path: Path):
    for command in (("build-labels", "x.tar"), ("relabel", str(plain))):
        result = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out"), *arguments])
        assert (result.exit_code, result.stderr) == (2, f"ovocr: {message}\n")


def test_min_score_is_refused_for_given_lines_without_scores(options: dict[str, Any], tmp_path: Path):
    table = tmp_path / "t.jsonl"
    table.write_text('{"key": "good.jpg", "text": "the fox"}\n')
    given = BuildOptions(**{**options, "lines": str(table)}, out=tmp_path / "out", min_score=0.5)
    with pytest.raises(UsageError, match=r"--min-score 0.5: has no effect, because no line of .*t.jsonl has a score"):
        build_labels(given, progress=False)
    assert not (tmp_path / "out").exists()
