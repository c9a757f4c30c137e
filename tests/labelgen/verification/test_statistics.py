"""Statistics with wrong counts, or of a different shard or data set."""

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
        ("input", "input: expected 7 (sum over the rows), found 8"),
        ("ok", "ok: expected 3 (sum over the rows), found 4"),
        ("lines", "lines: expected 5 (sum over the rows), found 6"),
        ("words_found", "words_found: expected 20 (sum over the rows), found 21"),
        ("tags", "tags: expected 14 (sum over the rows), found 15"),
    ],
)
def test_changed_count_is_found(copy: LabelledDataSet, check: Check, name: str, words: str):
    stats = read_object(copy.stats_path(0))
    stats[name] += 1
    copy.stats_path(0).write_text(json.dumps(stats))
    for quick in (True, False):
        lines = found(check(copy.root, quick=quick))
        assert f"stats/00000.json: {words}" in lines
        # A wrong count of images also breaks the sum of ok, dropped and quarantined.
        assert len(lines) == (2 if name in ("input", "ok") else 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ok": "3"}, "ok: expected a count, found '3'"),
        ({"ignored": -1}, "ignored: expected a count, found -1"),
        ({"reasons": {}}, "reasons: expected {'empty': 1"),
        ({"source": "x"}, "source: expected"),
        ({"kind": "rec"}, "kind: expected 'tar' (from manifest.json), found 'rec'"),
        ({"start": 0}, "start: expected None (from manifest.json), found 0"),
        ({"files": {"rec": 1}}, "files: expected size and sha256 of rec, idx, ocr, records"),
    ],
)
def test_statistics_that_do_not_match_the_shard_are_found(
    copy: LabelledDataSet, check: Check, change: dict[str, Any], words: str
):
    copy.stats_path(0).write_text(json.dumps({**read_object(copy.stats_path(0)), **change}))
    assert any(line.startswith(f"stats/00000.json: {words}") for line in found(check(copy.root)))


def test_statistics_of_a_different_data_set_are_found(
    copy: LabelledDataSet, check: Check, rehash: Any, built: Any, tmp_path: Path
):
    Vocabulary(["fox", "river"]).save(tmp_path / "few.txt")
    options = RelabelOptions(source=built[0].root, out=tmp_path / "few", vocab=str(tmp_path / "few.txt"))
    relabel(options, progress=False)
    shutil.copy(LabelledDataSet(options.out).stats_path(0), copy.stats_path(0))
    lines = found(check(copy.root))
    assert sum("sha256" in line for line in lines) == 2  # text and index are equal
    rehash(copy)
    lines = found(check(copy.root))
    assert "stats/00000.json: tags: expected 14 (sum over the rows), found 3" in lines
    assert not any("sha256" in line for line in lines)
