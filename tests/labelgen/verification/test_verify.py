"""Runs of verify: valid data sets of each command, unfinished shards, unrelated files and invalid files."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ovocr.base.errors import OvocrError
from ovocr.cli import main
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet, OldFormatError
from ovocr.dataset.manifest import SOURCE_KINDS
from ovocr.dataset.text import read_texts
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.labelgen.verification.report import VerificationReport
from ovocr.recordio import RecordReader, RecordWriter
from tests.old_format import make_old

Check = Callable[..., VerificationReport]
Built = tuple[LabelledDataSet, Totals]


def command(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["verify", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def found(report: VerificationReport) -> list[str]:
    return [finding.format() for finding in report.findings]


@pytest.mark.parametrize("quick", [False, True])
def test_valid_data_set_gives_figures_and_exit_code_0(built: Built, quick: bool):
    root = built[0].root
    code, text, errors = command(root, *(["--quick"] if quick else []))
    files = [path for folder in ("rec", "ocr", "records") for path in (root / folder).iterdir()]
    size = sum(path.stat().st_size for path in files)
    figures, verdict = text.splitlines()
    start = f"2 of 2 shards{' (quick)' if quick else ''}: 8 images, 4 records, {size} bytes in "
    assert figures.startswith(start)
    assert figures.endswith(" MB/s")
    assert (code, verdict, errors) == (0, "no problem found", "")


def test_verify_changes_no_file(copy: LabelledDataSet, check: Check):
    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in copy.root.rglob("*")}

    before = state()
    check(copy.root)
    assert state() == before


def test_relabelled_and_packed_data_sets_are_valid(relabelled: LabelledDataSet, packed: LabelledDataSet, check: Check):
    for data_set in (relabelled, packed):
        report = check(data_set.root)
        assert (found(report), report.notices, report.unfinished) == ([], [], [])
    assert (report.images, report.records) == (7, 3)


def test_labels_with_repeats_are_compared_with_the_places(
    relabelled: LabelledDataSet, check: Check, rehash: Any, tmp_path: Path
):
    copy = LabelledDataSet(Path(shutil.copytree(relabelled.root, tmp_path / "copy")))
    with RecordReader(copy.rec_prefix(0)) as reader:
        records = [[record.id, record.labels.copy(), record.image] for record in reader]
    records[0][1][:] = sorted(set(records[0][1].tolist()))[0]  # a tag of the image, in too many slots
    with RecordWriter(copy.rec_prefix(0)) as writer:
        for record in records:
            writer.write(*record)
    rehash(copy)
    for versions in ({}, {"jieba": "0"}):  # places give the labels even if the text cannot be segmented again
        manifest = read_object(copy.manifest_path)
        copy.manifest_path.write_text(json.dumps({**manifest, "versions": {**manifest["versions"], **versions}}))
        (line,) = found(check(copy.root))
        assert "from the image's tags and the policy" in line
    (copy.root / "frequencies.tsv").write_text("word\timages\n\t3\nfox\t2\n")
    lines = found(check(copy.root))
    assert lines[0].startswith("frequencies.tsv: expected the word frequencies in the manifest, found ")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda row: row["tags"][0].update(id=6), "label 0: expected 6 (from the image's tags and the policy)"),
        (lambda row: row["tags"][0].update(id=10), "tag 0: expected a class id below 10, found 10"),
        (lambda row: row["tags"].append(row["tags"][0]), "tags: expected distinct class ids, found [5, 3, 5]"),
        (lambda row: row.update(status="dropped", reason="no-text"), "reason: expected a reason for status dropped"),
    ],
)
def test_packed_labels_are_checked(
    packed: LabelledDataSet, check: Check, rehash: Any, edited: Any, tmp_path: Path, edit: Any, words: str
):
    copy = LabelledDataSet(Path(shutil.copytree(packed.root, tmp_path / "copy")))
    edited(copy.records_path(0), lambda rows: edit(rows[0]))
    assert any("sha256" in line for line in found(check(copy.root, quick=True)))
    rehash(copy)
    lines = found(check(copy.root))
    assert any(words in line for line in lines), lines


def test_line_without_edges_is_valid(copy: LabelledDataSet, check: Check, rehash: Any, edited: Any):
    """Its places follow from the display columns of its characters."""
    text = LineLabeller.load(copy, copy.manifest().policy)

    def remove_edges(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for line in row["lines"]:
                line["edges"] = []

    edited(copy.ocr_path(1), remove_edges)
    ((key, stored),) = read_texts(copy.ocr_path(1))
    places = text(key, stored.width, stored.height, stored.lines).places
    boxes = [list(place.box or ()) for place in places]
    edited(copy.records_path(1), lambda rows: [a.update(box=b) for a, b in zip(rows[0]["tags"], boxes, strict=True)])
    rehash(copy)
    assert found(check(copy.root)) == []


@pytest.mark.parametrize("quick", [False, True])
def test_labelled_data_set_of_format_2_is_refused_in_one_line(copy: LabelledDataSet, quick: bool):
    make_old(copy.root)
    code, text, errors = command(copy.root, *(["--quick"] if quick else []))
    assert (code, text) == (1, "")
    assert errors == f"ovocr: {OldFormatError(copy.root)}\n"


@pytest.mark.parametrize("quick", [False, True])
def test_packed_data_set_of_format_2_is_valid(packed: LabelledDataSet, tmp_path: Path, check: Check, quick: bool):
    root = make_old(Path(shutil.copytree(packed.root, tmp_path / "copy"))).root
    report = check(root, quick=quick)
    assert (found(report), report.notices, report.images) == ([], [], 7)


def test_missing_shard_is_unfinished(copy: LabelledDataSet):
    for path in copy.root.glob("*/00001.*"):
        path.unlink()
    code, text, _ = command(copy.root)
    assert code == 1
    assert "1 shards are not finished: 1" in text.splitlines()
    assert "no problem found" not in text
    code, text, _ = command(copy.root, "--unfinished-ok")
    assert code == 0
    assert "1 shards are not finished: 1" in text.splitlines()


def test_unfinished_shard_may_have_partial_files(copy: LabelledDataSet, check: Check):
    copy.stats_path(1).unlink()
    (copy.root / "rec" / "00001.rec.partial").touch()
    copy.lock_path(1).touch()
    report = check(copy.root)
    assert (found(report), report.unfinished) == ([], [1])


def test_folders_in_which_killed_runs_wrote_are_no_damage(copy: LabelledDataSet, check: Check):
    for number in (0, 1):
        (copy.root / f"{copy.making_prefix(number)}killed" / "rec").mkdir(parents=True)
    assert found(check(copy.root)) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rec/00002.rec", "expected a file of a shard in the manifest, found another file"),
        ("rec/00002.rec.partial", "expected a file of a shard in the manifest, found another file"),
        ("rec/0.idx", "expected a file of a shard in the manifest, found another file"),
        ("ocr/00000.json", "expected a file of a shard in the manifest, found another file"),
        ("records/00000.parquet.bak", "expected a file of a shard in the manifest, found another file"),
        ("stats/00000.x.json", "expected a file of a shard in the manifest, found another file"),
        ("stats/\u0663\u0663\u0663\u0663\u0663.json", "expected a file of a shard in the manifest, found another file"),
        ("ocr/00001.parquet.partial", "expected no partial file of a finished shard, found a file of a killed run"),
    ],
)
def test_unrelated_files_are_found(copy: LabelledDataSet, name: str, words: str):
    (copy.root / name).write_bytes(b"")
    code, text, _ = command(copy.root, "--quick")
    lines = text.splitlines()
    assert (code, lines[0]) == (1, f"{name}: {words}")
    assert lines[1] in (f"to fix: move {copy.root / name} out of the folder", f"to fix: remove {copy.root / name}")


def test_file_in_place_of_a_folder_is_found(copy: LabelledDataSet, check: Check):
    shutil.rmtree(copy.root / "ocr")
    (copy.root / "ocr").touch()
    lines = found(check(copy.root))
    assert "ocr: expected a folder, found Not a directory" in lines
    assert "ocr/00000.parquet: expected a file, found nothing" in lines


MANIFESTS: list[tuple[Any, str]] = [
    (b"", "manifest.json: expected a JSON object, found invalid JSON: Expecting value: line 1 column 1 (char 0)"),
    (b"\xff\xfe{", "manifest.json: expected a JSON object, found invalid JSON: 'utf-8' codec can't decode byte"),
    (b"[" * 200_000, "manifest.json: expected a JSON object, found invalid JSON: maximum recursion depth exceeded"),
    (b"[1]", "manifest.json: expected a JSON object, found [1]"),
    ({"format": 1}, "manifest.json: format: expected one of 3, 2, found 1"),
    ({"options": 3}, "manifest.json: options: expected an object, found 3"),
    ({"options": {"tags": True, "seed": 7, "max_pixels": 1}}, "options.tags: expected a whole number from 1 to"),
    ({"vocabulary": {"size": 12}}, "manifest.json: vocabulary.sha256: expected a hash, found None"),
    ({"vocabulary": {"size": 10**400, "sha256": ""}}, "vocabulary.size: expected a whole number from 1 to"),
    ({"shards": None}, "manifest.json: shards: expected a list, found None"),
    (
        {"shards": [{"source": "\x1b"}]},
        f"shards[0]: expected source, kind ({', '.join(SOURCE_KINDS)}) and size or range",
    ),
    ({"labels": {}}, "manifest.json: labels.sha256: expected a hash, found None"),
]


@pytest.mark.parametrize(("content", "words"), MANIFESTS)
def test_invalid_manifest_ends_the_checks(copy: LabelledDataSet, content: Any, words: str):
    data = (
        content if isinstance(content, bytes) else json.dumps({**read_object(copy.manifest_path), **content}).encode()
    )
    copy.manifest_path.write_bytes(data)
    code, text, _ = command(copy.root)
    lines = text.splitlines()
    assert code == 1
    assert any(line.startswith("manifest.json") and words in line for line in lines), text
    assert str(copy.manifest_path) not in text
    assert "nothing else was checked, because manifest.json is not valid" in lines
    assert "\x1b" not in text


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 200_000, b"[]", b'{"input": NaN}', b'{"files": [1]}'])
def test_invalid_statistics_are_findings(copy: LabelledDataSet, check: Check, content: bytes):
    copy.stats_path(0).write_bytes(content)
    report = check(copy.root)
    assert report.broken
    assert {finding.file for finding in report.findings} == {"stats/00000.json"}
    assert report.images == 8  # the other files were checked


def test_folder_in_place_of_statistics_is_a_finding(copy: LabelledDataSet, check: Check):
    copy.stats_path(0).unlink()
    copy.stats_path(0).mkdir()
    assert found(check(copy.root))[0] == "stats/00000.json: expected a file, found something else"


@pytest.mark.parametrize("name", ["vocab.txt", "vocab.txt.json", "frequencies.tsv", "stats/00000.json"])
def test_pipe_in_place_of_a_file_does_not_block(relabelled: LabelledDataSet, tmp_path: Path, name: str):
    root = Path(shutil.copytree(relabelled.root, tmp_path / "copy"))
    (root / name).unlink()
    os.mkfifo(root / name)
    arguments = [sys.executable, "-m", "ovocr", "verify", str(root), "--quick"]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (1, "")
    assert f"{name}: expected a file, found something else" in result.stdout.splitlines()


def test_missing_hashes_are_findings_and_other_checks_run(copy: LabelledDataSet, check: Check):
    for number in (0, 1):
        stats = read_object(copy.stats_path(number))
        del stats["files"]
        copy.stats_path(number).write_text(json.dumps(stats))
    code, text, _ = command(copy.root)
    assert code == 1
    for number in (0, 1):
        line = f"stats/{number:05d}.json: files: expected size and sha256 of rec, idx, ocr, records, found nothing"
        assert line in text.splitlines()
    os.truncate(copy.records_path(1), 1000)
    assert any(line.startswith("records/00001.parquet: ") for line in found(check(copy.root)))


@pytest.mark.parametrize("name", ["rec", "idx", "ocr", "records"])
def test_missing_hash_of_one_file_is_a_finding(copy: LabelledDataSet, check: Check, name: str):
    stats = read_object(copy.stats_path(1))
    del stats["files"][name]
    copy.stats_path(1).write_text(json.dumps(stats))
    (line,) = found(check(copy.root, quick=True))
    assert line.startswith("stats/00001.json: files: expected size and sha256 of rec, idx, ocr, records, found {")


def test_report_contains_the_fix(copy: LabelledDataSet):
    os.truncate(copy.ocr_path(1), 100)
    code, text, _ = command(copy.root)
    assert code == 1
    assert (
        "to fix: remove stats/00001.json and repeat `ovocr build-labels` with the same options: the shard is rebuilt"
    ) in text.splitlines()


def test_report_as_json(copy: LabelledDataSet, tmp_path: Path):
    os.truncate(copy.ocr_path(1), 100)
    code, text, _ = command(copy.root, "--json", "-")
    report = json.loads(text)
    assert (code, report["images"], report["shards"], report["unfinished"]) == (1, 8, 2, [])
    assert report["broken"] == len(report["findings"]) == 3
    assert report["findings"][0] == {
        **{"file": "ocr/00001.parquet", "where": "bytes", "shard": 1, "fix": "", "found": "100"},
        "promised": report["findings"][0]["promised"],
    }
    assert len(report["fixes"]) == 1
    code, text, _ = command(copy.root, "--json", tmp_path / "f.json")
    assert json.loads((tmp_path / "f.json").read_text())["findings"] == report["findings"]
    assert "3 problems found, in 1 shard\n" in text


def test_several_processes_give_the_same_findings(copy: LabelledDataSet, check: Check, monkeypatch: pytest.MonkeyPatch):
    os.truncate(copy.ocr_path(1), 100)
    alone = check(copy.root)
    monkeypatch.setattr("ovocr.labelgen.verification.verify.CHECKED_AT_LEAST", 1)
    monkeypatch.setattr("ovocr.labelgen.shards.worker_count.available_cores", lambda: 2)
    together = check(copy.root)
    assert together.findings == alone.findings
    assert (together.images, together.records, together.bytes) == (alone.images, alone.records, alone.bytes)


def processes_of(group: int) -> list[str]:
    """Returns the processes of a group except zombies. Format: Linux's proc(5), state and group after the name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state != "Z":
                found.append(f"{path}: {state}")
    return found


def test_ctrl_c_ends_verify_with_one_line(copy: LabelledDataSet):
    """An interrupted run with two processes leaves no process."""
    script = (
        "import sys\n"
        "from ovocr.labelgen.verification import verify\n"
        "import ovocr.labelgen.executors.shard_run\n"
        "from ovocr.cli import main\n"
        "verify.CHECKED_AT_LEAST = 1\n"
        "ovocr.labelgen.shards.worker_count.available_cores = lambda: 2\n"
        "original = verify.map_shards\n"
        "def print_and_map(*arguments, **options):\n"
        "    print('started', flush=True)\n"
        "    return original(*arguments, **options)\n"
        "verify.map_shards = print_and_map\n"
        "if __name__ == '__main__':\n"
        f"    main(['verify', {str(copy.root)!r}])\n"
    )
    path = copy.root.parent / "script.py"
    path.write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)  # processes take longer to start
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "ovocr: interrupted; the data set was checked only in part\n")
    deadline = time.monotonic() + 30
    while group := processes_of(process.pid):
        assert time.monotonic() < deadline, group
        time.sleep(0.05)


def test_error_of_a_wrong_folder_is_one_line(tmp_path: Path, check: Check):
    with pytest.raises(OvocrError, match="not a labelled data set"):
        check(tmp_path)
    code, _, errors = command(tmp_path, "--workers", "0")
    assert (code, errors) == (2, "ovocr: --workers 0: must be at least 1\n")


def test_data_set_without_images_is_valid(tmp_path: Path, tar: Any):
    source, out = tar(tmp_path / "empty.tar", []), tmp_path / "out"
    (tmp_path / "t.csv").write_text("key,label\na.jpg,1\n")
    arguments = ["pack-labels", source, "--labels", tmp_path / "t.csv", "--out", out]
    assert CliRunner().invoke(main, [str(argument) for argument in arguments]).exit_code == 1  # no image was labelled
    code, text, _ = command(out)
    assert (code, text.splitlines()[-1]) == (0, "no problem found")
