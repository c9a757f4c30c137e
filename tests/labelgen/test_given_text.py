"""Whole runs of build-labels --lines on real archives, with real worker processes and no OCR engine."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import GivenTextTotals, build_labels
from ovocr.labelgen.options import BuildOptions, RelabelOptions
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from ovocr.recordio import RecordReader, RecordWriter
from ovocr.vocab import Vocabulary
from tests.labelgen.data_sets import FILES, Built, again, digests, rows, wait_for

# The lines of the images in ``members``, of 420x90 pixels or as named there. b/unknown.png has no row; two keys have no
# image. c.jpg and d.jpg are in the second archive.
TABLE: list[dict[str, Any]] = [
    {"key": "a/fox.jpg", "text": "the quick brown fox the fox", "box": [15, 25, 400, 55], "score": 0.9},
    {"key": "a/fox.jpg", "text": "jumps over the gar-", "box": None},
    {"key": "a/fox.jpg", "text": "den", "box": [-10, 60, 30, 80, 30, 95, -10, 95]},
    {"key": "a/blank.png", "text": None},
    {"key": "b/many.PNG", "text": "violin quartz"},
    {"key": "b/cut.jpg", "text": "fox"},
    {"key": "nowhere.jpg", "text": "river"},
    {"key": "c.jpg", "text": "river", "box": [0, 0, 4000, 3000]},
    {"key": "d.jpg", "text": "river\n \nstone\n"},
    {"key": "nowhere.png", "text": "  "},
]
REASONS = {
    "wrong-boxes": 1,
    "no-lines-given": 1,
    "no-text": 1,
    "no-word-in-vocabulary": 1,
    "truncated": 1,
    "empty": 1,
}


def write_table(path: Path, table: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


@pytest.fixture(scope="module")
def given_options(
    tmp_path_factory: pytest.TempPathFactory,
    vocabulary: Path,
    members: list[tuple[str, bytes]],
    tar: Any,
    encoded: Any,
    drawn: Any,
) -> BuildOptions:
    """Returns options for two archives, a table and five slots."""
    folder = tmp_path_factory.mktemp("given")
    first = tar(folder / "first.tar", members)
    second = tar(folder / "second.tar", [("c.jpg", encoded(drawn("c"))), ("d.jpg", encoded(drawn("d")))])
    table = write_table(folder / "t.jsonl", TABLE)
    return BuildOptions(
        sources=(str(first), str(second)),
        out=folder / "out",
        vocab=str(vocabulary),
        lines=str(table),
        workers=1,
        tags=5,
        seed=7,
    )


@pytest.fixture(scope="module")
def given(given_options: BuildOptions) -> Built:
    totals = build_labels(given_options, progress=False)
    return LabelledDataSet.open(given_options.out), totals


def test_every_image_has_a_row_with_its_status(given: Built):
    records = [row for number in range(2) for row in rows(given[0].records_path(number))]
    assert [(row["key"], row["status"], row["reason"], row["record_id"]) for row in records] == [
        ("a/fox.jpg", "ok", None, 0),
        ("a/blank.png", "dropped", "no-text", None),
        ("b/many.PNG", "dropped", "no-word-in-vocabulary", None),
        ("b/unknown.png", "dropped", "no-lines-given", None),
        ("b/cut.jpg", "quarantined", "truncated", None),
        ("a/fox.jpg", "ok", None, 1),
        ("b/zero.jpg", "quarantined", "empty", None),
        ("c.jpg", "quarantined", "wrong-boxes", None),
        ("d.jpg", "ok", None, 0),
    ]
    assert records[7]["detail"] == (
        "line 0 ('river'): the center of its box [0.0, 0.0, 4000.0, 0.0, 4000.0, 3000.0, 0.0, 3000.0] is outside the "
        "image of 420x90 pixels; its boxes may be for another size of the image"
    )


def test_lines_are_those_of_the_table_in_its_order(given: Built):
    read = rows(given[0].ocr_path(0))
    assert [(row["key"], len(row["lines"])) for row in read] == [
        *(("a/fox.jpg", 3), ("a/blank.png", 0), ("b/many.PNG", 1), ("b/unknown.png", 0), ("a/fox.jpg", 3))
    ]
    assert [(row["width"], row["height"]) for row in read] == [(420, 90), (80, 60), (420, 120), (420, 90), (420, 90)]
    whole = [0.0, 0.0, 420.0, 0.0, 420.0, 90.0, 0.0, 90.0]
    assert [(line["text"], round(line["score"], 4), line["box"], line["edges"]) for line in read[0]["lines"]] == [
        ("the quick brown fox the fox", 0.9, [15.0, 25.0, 400.0, 25.0, 400.0, 55.0, 15.0, 55.0], []),
        ("jumps over the gar-", 1.0, whole, []),
        ("den", 1.0, [0.0, 60.0, 30.0, 80.0, 30.0, 90.0, 0.0, 90.0], []),
    ]
    assert [line["text"] for line in rows(given[0].ocr_path(1))[0]["lines"]] == ["river", "stone"]


def test_words_and_tags_are_made_as_from_an_engine(given: Built):
    vocabulary = Vocabulary.load(given[0].vocabulary_path)
    row = rows(given[0].records_path(0))[0]
    places = [(vocabulary.word(tag["id"]), tag["line"]) for tag in row["tags"]]
    assert places == [
        *((word, 0) for word in ("the", "quick", "brown", "fox", "the", "fox")),
        *((word, 1) for word in ("jumps", "over", "the", "garden")),  # joined across the lines
    ]
    assert row["tags"][0]["box"][:2] == [15.0, 25.0]
    assert row["tags"][6]["box"] == [0.0, 0.0, 420.0, 0.0, 420.0, 90.0, 0.0, 90.0]
    with RecordReader(given[0].rec_prefix(1)) as reader:
        words = [vocabulary.word(int(label)) for label in reader[0].labels]
    assert words == ["river", "stone", "river", "stone", "river"]


def test_counts_add_up_and_include_the_table(given: Built):
    totals = given[1]
    assert isinstance(totals, GivenTextTotals)
    report = totals.to_json()
    counts = {"shards": 2, "input": 9, "ok": 3, "dropped": 3, "quarantined": 3, "ignored": 1, "lines": 9}
    table = {"keys": 8, "keys_without_image": 2, "lines_without_text": 2, "lines_without_box": 6}
    assert report["keys_without_image_examples"] == ["nowhere.jpg", "nowhere.png"]
    assert report.items() >= {**counts, **table, "reasons": dict(sorted(REASONS.items()))}.items()
    assert totals.format().splitlines()[-3:-1] == [
        "8 keys in the table, 2 without an image: 'nowhere.jpg', 'nowhere.png'",
        "lines without text: 2 (left out); lines without a box: 6 (the whole image)",
    ]


def test_the_manifest_describes_the_table(given: Built, given_options: BuildOptions):
    sha256 = hashlib.sha256(Path(given_options.lines).read_bytes()).hexdigest()
    assert read_object(given[0].manifest_path)["engine"] == {
        "name": "given",
        "lines": {"sha256": sha256, "key_column": "key", "text_column": "text"},
    }


def test_the_text_of_a_data_set_gives_the_same_tags(built: Built, options: BuildOptions, tmp_path: Path):
    """What an engine has read, as a table with boxes, scores and edges."""
    copy = again(options, lines=str(built[0].ocr_path(0).parent), out=tmp_path / "copy")
    copied = LabelledDataSet(tmp_path / "copy")
    totals = build_labels(copy, progress=False)
    assert totals.counts == built[1].counts
    expected, found = digests(built[0].root), digests(tmp_path / "copy")
    shards = [f"{kind}/{number:05d}.{end}" for kind, end in FILES if kind in ("rec", "ocr") for number in range(2)]
    assert {name: found[name] for name in shards} == {name: expected[name] for name in shards}
    # The margin of the engine's detector is not in the table, so the boxes of words are taller.
    for theirs, ours in zip(rows(built[0].records_path(0)), rows(copied.records_path(0)), strict=True):
        assert [(tag["id"], tag["line"]) for tag in ours["tags"]] == [
            (tag["id"], tag["line"]) for tag in theirs["tags"]
        ]
        for own, tag in zip(ours["tags"], theirs["tags"], strict=True):
            assert own["box"][::2] == pytest.approx(tag["box"][::2], abs=2)
        assert all(own["box"][1] < tag["box"][1] for own, tag in zip(ours["tags"], theirs["tags"], strict=True))
    assert any(line["edges"] for row in rows(built[0].ocr_path(0)) for line in row["lines"])


def test_tables_of_every_form_give_the_same_bytes(given: Built, given_options: BuildOptions, tmp_path: Path):
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in TABLE:
        by_key.setdefault(row["key"], []).append({name: row.get(name) for name in ("text", "box", "score")})
    (tmp_path / "t.json").write_text(json.dumps(by_key))
    table = [{"key": key, "lines": lines} for key, lines in by_key.items()]
    write_table(tmp_path / "t.jsonl", table)
    expected = {name: digest for name, digest in digests(given[0].root).items() if name != "manifest.json"}
    for name in ("t.json", "t.jsonl"):
        out = tmp_path / f"{name}-out"
        build_labels(again(given_options, lines=str(tmp_path / name), out=out), progress=False)
        assert {name: digest for name, digest in digests(out).items() if name != "manifest.json"} == expected


def test_two_workers_and_slices_give_the_same_bytes(given: Built, given_options: BuildOptions, tmp_path: Path):
    build_labels(again(given_options, out=tmp_path / "two", workers=2), progress=False)
    assert digests(tmp_path / "two") == digests(given[0].root)
    sliced = again(given_options, out=tmp_path / "sliced", shard_slice=(1, 2))
    second = build_labels(sliced, progress=False).to_json()
    assert (second["ok"], second["keys"], second["keys_without_image"]) == (1, 8, None)
    first = build_labels(again(sliced, shard_slice=(0, 2)), progress=False).to_json()
    assert (first["ok"], first["keys_without_image"]) == (2, 2)
    assert digests(tmp_path / "sliced") == digests(given[0].root)


def test_a_rerun_leaves_a_finished_data_set_unchanged(given: Built, given_options: BuildOptions):
    before = {path: path.stat().st_mtime_ns for path in given[0].root.rglob("*") if path.is_file()}
    totals = build_labels(given_options, progress=False)
    assert (totals.built, totals.counts) == (0, given[1].counts)
    assert before == {path: path.stat().st_mtime_ns for path in given[0].root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("table", "change", "difference"),
    [
        ([{"name": "a/fox.jpg", "text": "fox"}], {"key_column": "name"}, "engine.lines.key_column is 'key' there"),
        (None, {"lines": None}, "engine.name is 'given' there, 'rapidocr' in this run"),
        (None, {"seed": 8}, "options.seed is 7 there, 8 in this run"),
    ],
)
def test_a_different_configuration_is_refused(
    given: Built, given_options: BuildOptions, tmp_path: Path, table: Any, change: dict[str, Any], difference: str
):
    if table is not None:
        change = {**change, "lines": str(write_table(tmp_path / "other.jsonl", table))}
    before = digests(given[0].root)
    with pytest.raises(OvocrError, match=f"made with another configuration: {difference}"):
        build_labels(again(given_options, **change), progress=False)
    assert digests(given[0].root) == before


def test_a_data_set_of_an_engine_is_refused(built: Built, options: BuildOptions, tmp_path: Path):
    table = write_table(tmp_path / "t.jsonl", TABLE)
    with pytest.raises(OvocrError, match="another configuration: engine.name is 'rapidocr' there, 'given' in this run"):
        build_labels(again(options, lines=str(table)), progress=False)


def test_a_killed_run_resumes_with_the_same_bytes(given_options: BuildOptions, tmp_path: Path, tar: Any, encoded: Any):
    # Noise takes long to encode, so that the run is killed in the middle of a shard.
    noise = encoded(Image.effect_noise((2000, 2000), 90).convert("RGB"), "PNG")
    sources = [tar(tmp_path / f"{n}.tar", [(f"{n}-{m}.png", noise) for m in range(4)]) for n in range(3)]
    lines = [{"key": f"{n}-{m}.png", "text": "river stone\nfox"} for n in range(3) for m in range(4)]
    table = write_table(tmp_path / "t.jsonl", lines)
    changed = again(given_options, sources=tuple(map(str, sources)), lines=str(table))
    whole, killed = (again(changed, out=tmp_path / name) for name in ("whole", "killed"))
    build_labels(whole, progress=False)
    process = start(killed)
    wait_for(killed.out / "stats" / "00000.json", process)
    process.kill()
    process.communicate()
    first = (killed.out / "stats" / "00000.json").stat().st_mtime_ns
    for kind, end in FILES:
        (killed.out / kind / f"00002.{end}.partial").write_bytes(b"half")
    totals = build_labels(killed, progress=False)
    assert 1 <= totals.built <= 2
    assert (totals.counts["ok"], totals.counts["words_found"]) == (12, 36)
    assert (killed.out / "stats" / "00000.json").stat().st_mtime_ns == first
    assert digests(killed.out) == digests(whole.out)
    assert not list(killed.out.rglob("*.partial"))


def start(options: BuildOptions) -> subprocess.Popen[bytes]:
    names = {"--vocab": options.vocab, "--lines": options.lines, "--out": options.out, "--tags": options.tags}
    arguments = [str(part) for pair in {**names, "--seed": options.seed, "--workers": 1}.items() for part in pair]
    return subprocess.Popen(
        [sys.executable, "-m", "ovocr", "build-labels", *options.sources, *arguments], stderr=subprocess.PIPE
    )


def test_keys_of_every_kind_of_source(given_options: BuildOptions, tmp_path: Path, members: list[tuple[str, bytes]]):
    jpeg = members[0][1]
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "x.jpg").write_bytes(jpeg)
    with RecordWriter(tmp_path / "r") as writer:
        writer.write(41, [0.0], jpeg)
    pq.write_table(pq.read_table(_parquet(tmp_path / "rows.parquet", [{"image": jpeg}])), tmp_path / "rows.parquet")
    _parquet(tmp_path / "keyed.parquet", [{"image": jpeg, "key": "k"}])
    (tmp_path / "t.csv").write_text("file,text\nsub/x.jpg,river\n41,stone\n0,garden\nk,window\n")
    sources = tuple(str(tmp_path / name) for name in ("folder", "r.rec", "rows.parquet", "keyed.parquet"))
    own = again(
        given_options, sources=sources, lines=str(tmp_path / "t.csv"), key_column="file", out=tmp_path / "out", tags=1
    )
    totals = build_labels(own, progress=False).to_json()
    assert (totals["shards"], totals["ok"], totals["keys_without_image"]) == (4, 4, 0)
    vocabulary = Vocabulary.load(own.out / "vocab.txt")
    labels = [record.labels[0] for number in range(4) for record in RecordReader(own.out / "rec" / f"{number:05d}")]
    assert [vocabulary.word(int(label)) for label in labels] == ["river", "stone", "garden", "window"]


def _parquet(path: Path, table: list[dict[str, Any]]) -> Path:
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(table), path)
    return path


def test_error_shows_a_key_of_both_sides_if_no_image_has_a_row(given_options: BuildOptions, tmp_path: Path):
    table = write_table(tmp_path / "t.jsonl", [{"key": "fox", "text": "fox"}])
    with pytest.raises(OvocrError) as error:
        build_labels(again(given_options, lines=str(table), out=tmp_path / "out"), progress=False)
    assert str(error.value) == (
        f"--lines {table}: no image has a row: an image's key is 'a/fox.jpg', the table's first is 'fox'; "
        "a key is the path inside the source, including the file extension"
    )
    assert not (tmp_path / "out").exists()


def test_a_wrong_table_leaves_no_file(given_options: BuildOptions, tmp_path: Path):
    table = write_table(tmp_path / "t.jsonl", [{"key": "a/fox.jpg", "text": "fox", "box": [1, 2, 3]}])
    with pytest.raises(
        OvocrError, match=r"t\.jsonl: row 0 \(key 'a/fox.jpg'\): column 'box': \[1.0, 2.0, 3.0\] is not"
    ):
        build_labels(again(given_options, lines=str(table), out=tmp_path / "out"), progress=False)
    assert not (tmp_path / "out").exists()


def test_verify_finds_nothing_and_knows_the_reasons_of_given_text(given: Built, tmp_path: Path):
    assert verify(VerifyOptions(root=given[0].root, workers=1), progress=False).findings == []
    other = tmp_path / "engine"
    shutil.copytree(given[0].root, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["engine"] = {"name": "rapidocr"}
    (other / "manifest.json").write_text(json.dumps(manifest))
    found = {
        (finding.where, finding.found)
        for finding in verify(VerifyOptions(root=other, workers=1), progress=False).findings
    }
    assert found == {
        ("row 3 (b/unknown.png), reason", "'no-lines-given'"),
        ("row 0 (c.jpg), reason", "'wrong-boxes'"),
    }


def test_relabel_keeps_records_and_reasons(given: Built, given_options: BuildOptions, tmp_path: Path):
    totals = relabel(RelabelOptions(source=given_options.out, out=tmp_path / "new", workers=1), progress=False)
    assert totals.counts == given[1].counts
    before, after = digests(given[0].root), digests(tmp_path / "new")
    assert {name for name in before if before[name] != after[name]} == {"manifest.json"}
    assert LabelledDataSet.open(tmp_path / "new").manifest().has_given_text


def test_why_and_inspect_show_given_text(given: Built, tmp_path: Path):
    result = CliRunner().invoke(main, ["why", str(given[0].root), "a/fox.jpg", "garden"])
    assert result.exit_code == 0, result.stderr
    assert "the whole image: (0, 0) (420, 0) (420, 90) (0, 90)" in result.stdout
    result = CliRunner().invoke(main, ["why", str(given[0].root), "b/unknown.png"])
    assert "no-lines-given" in result.stdout
    page = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["inspect", str(given[0].root), "--html", str(page)])
    assert result.exit_code == 0, result.stderr
    text = page.read_text()
    assert "text from a table" in text
    assert "read by" not in text
    assert {"wrong-boxes", "no-lines-given"} <= set(re.findall(r"wrong-boxes|no-lines-given", text))


def test_quarantined_images_can_be_retried(
    given_options: BuildOptions, tmp_path: Path, members: list[tuple[str, bytes]]
):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.jpg").symlink_to(tmp_path / "later.jpg")
    (tmp_path / "images" / "y.jpg").write_bytes(members[0][1])
    table = write_table(tmp_path / "t.jsonl", [{"key": f"{name}.jpg", "text": "fox"} for name in "xy"])
    own = again(given_options, sources=(str(tmp_path / "images"),), lines=str(table), out=tmp_path / "out")
    assert build_labels(own, progress=False).counts["reasons"] == {"unreadable": 1}
    (tmp_path / "later.jpg").write_bytes(members[0][1])
    assert build_labels(again(own, retry_quarantined=True), progress=False).counts["ok"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine": "paddleocr"}, "--engine paddleocr: no engine reads the images with --lines; leave out --engine"),
        ({"model_dir": Path("m")}, "--model-dir m: no engine reads the images with --lines; leave out --model-dir"),
        ({"det_model": "x"}, "--det-model x: no engine reads the images with --lines; leave out --det-model"),
        ({"rec_model": "x"}, "--rec-model x: no engine reads the images with --lines; leave out --rec-model"),
        ({"precision": "bfloat16"}, "--precision bfloat16: no engine reads the images with --lines; leave out --pre"),
        (
            {"lines": None, "key_column": "file", "image_key_column": "id"},
            "--key-column file: without --lines, it is the same as --image-key-column, which is given, too; leave out",
        ),
    ],
)
def test_options_that_exclude_each_other(given_options: BuildOptions, change: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=f"^{message}"):
        dataclasses.replace(given_options, **change)


def test_the_command_prints_figures_and_one_line_for_a_mistake(given_options: BuildOptions, tmp_path: Path, tar: Any):
    arguments = ["build-labels", *given_options.sources, "--out", str(tmp_path / "out"), "--workers", "1"]
    arguments += ["--vocab", given_options.vocab]
    result = CliRunner().invoke(main, [*arguments, "--lines", given_options.lines, "--json", "-"])
    assert result.exit_code == 0
    assert json.loads(result.stdout).items() >= {"keys": 8, "keys_without_image": 2, "lines_without_text": 2}.items()
    wrong = CliRunner().invoke(main, [*arguments, "--lines", given_options.lines, "--key-column", "file"])
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        f"ovocr: --lines {given_options.lines}: no column 'file'; name it with --key-column; "
        "its columns: key, text, box, score\n",
    )
    for table, mistake in (
        ("t.json", "no such file or folder"),
        ("s3://x/t.json", "must be on a disk; copy it there first"),
    ):
        wrong = CliRunner().invoke(main, [*arguments, "--lines", table])
        assert (wrong.exit_code, wrong.stderr) == (2, f"ovocr: --lines {table}: {mistake}\n")
    hostile = write_table(tmp_path / "h.jsonl", [{"key": "\x1b[2Jx", "text": "\u202e", "score": 7}])
    wrong = CliRunner().invoke(main, [*arguments, "--lines", str(hostile)])
    assert (wrong.exit_code, len(wrong.stderr.splitlines())) == (1, 1)
    assert not {"\x1b", "\u202e"} & set(wrong.stderr)
    wrong = CliRunner().invoke(main, [*arguments, "--lines", given_options.lines, "--precision", "bfloat16"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("ovocr: --precision bfloat16: no engine reads the images with --lines")


def test_the_documented_commands_run(tmp_path: Path):
    root = Path(__file__).resolve().parents[2]
    document = (root / "docs" / "given_text.md").read_text(encoding="utf-8")
    commands = re.search(r"^    (echo .*)\n    (ovocr build-labels .*)$", document, re.MULTILINE)
    (tmp_path / "examples").symlink_to(root / "examples")
    output = [
        subprocess.run(
            ["bash", "-c", command.replace("ovocr ", f"{sys.executable} -m ovocr ")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for command in commands.groups()
    ][1]
    assert (
        "50 images in 1 shard: 1 ok, 49 dropped, 0 quarantined; 50 other files ignored\n  no-lines-given: 49" in output
    )
    assert ", 8 tags (distinct in each image)" in output


@pytest.mark.parametrize(
    ("folder", "names", "with_boxes"),
    [
        ("more_receipts", ".", True),
        ("forms", ".", True),
        ("scenes", ".", True),
        ("words", "words.tsv", False),
        ("chinese", ".", False),
    ],
)
def test_transcribed_images(shared_data: Path, tmp_path: Path, folder: str, names: str, with_boxes: bool):
    """Real images with text files beside them, converted by examples/make_lines.py."""
    script = Path(__file__).resolve().parents[2] / "examples" / "make_lines.py"
    source, table, out = shared_data / folder, tmp_path / "lines.jsonl", tmp_path / "out"
    subprocess.run([sys.executable, script, source / names, "--out", table], check=True, capture_output=True)
    given = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    options = BuildOptions(sources=(str(source),), lines=str(table), out=out)
    totals = build_labels(options, progress=False).to_json()
    lines = [line["text"] if isinstance(line, dict) else line for row in given for line in row["lines"]]
    texts = [line for line in lines if line and line.strip()]
    assert (totals["input"], totals["keys"], totals["keys_without_image"]) == (len(given), len(given), 0)
    assert (totals["lines_without_text"], totals["lines_without_box"]) == (
        len(lines) - len(texts),
        0 if with_boxes else len(texts),
    )
    if not totals["quarantined"]:
        assert totals["lines"] == len(texts)
    assert set(totals["reasons"]) <= {"no-text", "no-word", "no-word-in-vocabulary", "truncated"}
    assert totals["ok"] > 0.9 * len(given)
    assert verify(VerifyOptions(root=out), progress=False).findings == []


def test_neither_engine_nor_torch_is_imported(given_options: BuildOptions, tmp_path: Path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "for name in ('rapidocr', 'onnxruntime', 'openvino', 'paddleocr', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "from ovocr.labelgen.options import BuildOptions\n"
        "from ovocr.labelgen.build import build_labels\n"
        f"options = BuildOptions(sources={given_options.sources!r}, lines={given_options.lines!r},\n"
        f"    vocab={given_options.vocab!r}, out=Path({str(tmp_path / 'out')!r}), workers=1)\n"
        "if __name__ == '__main__':\n"
        "    print(build_labels(options, False).counts['ok'])\n"
    )
    # A worker runs this file again before it starts, so the packages are missing there too.
    (tmp_path / "script.py").write_text(script)
    result = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=True, env=os.environ
    )
    assert result.stdout == "3\n"


def test_without_image_decoders_the_error_names_the_install_command(given_options: BuildOptions):
    arguments = ["build-labels", *given_options.sources, "--lines", given_options.lines, "--out", "o"]
    script = (
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'cv2' else real(name, *rest)\n"
        "from ovocr.cli import main\n"
        f"main({arguments!r})\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ)
    assert (result.returncode, result.stderr) == (
        2,
        "ovocr: build-labels --lines needs packages that are not installed; "
        "install the extra \"ocr\": pip install '.[ocr]' in a checkout of ovocr\n",
    )
