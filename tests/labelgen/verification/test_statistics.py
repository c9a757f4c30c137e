"""Statistics that do not count what is there, or are of another shard or data set."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.options import RelabelOptions
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.verification.report import VerificationReport
from ovocr.vocab import Vocabulary

Check = Callable[..., VerificationReport]


def found(report: VerificationReport) -> list[str]:
    return [finding.format() for finding in report.findings]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("input", "input: should be 7, as the rows add up to, is 8"),
        ("ok", "ok: should be 3, as the rows add up to, is 4"),
        ("lines", "lines: should be 5, as the rows add up to, is 6"),
        ("words_found", "words_found: should be 20, as the rows add up to, is 21"),
        ("tags", "tags: should be 14, as the rows add up to, is 15"),
    ],
)
def test_an_edited_count_is_caught(copy: LabelledDataSet, check: Check, name: str, words: str):
    stats = read_object(copy.stats_path(0))
    stats[name] += 1
    copy.stats_path(0).write_text(json.dumps(stats))
    for quick in (True, False):
        lines = found(check(copy.root, quick=quick))
        assert f"stats/00000.json: {words}" in lines
        # Where images are counted, they must also be each in one of three counts.
        assert len(lines) == (2 if name in ("input", "ok") else 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ok": "3"}, "ok: should be a count, is '3'"),
        ({"ignored": -1}, "ignored: should be a count, is -1"),
        ({"reasons": {}}, "reasons: should be {'empty': 1"),
        ({"source": "x"}, "source: should be"),
        ({"kind": "rec"}, "kind: should be 'tar' as in manifest.json, is 'rec'"),
        ({"start": 0}, "start: should be None as in manifest.json, is 0"),
        ({"files": {"rec": 1}}, "files: should be size and sha256 of rec, idx, ocr, records"),
    ],
)
def test_statistics_that_are_not_of_the_shard_are_caught(
    copy: LabelledDataSet, check: Check, change: dict[str, Any], words: str
):
    copy.stats_path(0).write_text(json.dumps({**read_object(copy.stats_path(0)), **change}))
    assert any(line.startswith(f"stats/00000.json: {words}") for line in found(check(copy.root)))


def test_statistics_of_another_data_set_are_caught(
    copy: LabelledDataSet, check: Check, rehash: Any, built: Any, tmp_path: Path
):
    Vocabulary(["fox", "river"]).save(tmp_path / "few.txt")
    options = RelabelOptions(source=built[0].root, out=tmp_path / "few", vocab=str(tmp_path / "few.txt"))
    relabel(options, progress=False)
    shutil.copy(LabelledDataSet(options.out).stats_path(0), copy.stats_path(0))
    lines = found(check(copy.root))
    assert sum("sha256" in line for line in lines) == 2  # text and index are the same
    rehash(copy)
    lines = found(check(copy.root))
    assert "stats/00000.json: tags: should be 14, as the rows add up to, is 3" in lines
    assert not any("sha256" in line for line in lines)
