"""The vocabulary of a data set and its description: different, invalid or missing."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.verification.report import VerificationReport

Check = Callable[..., VerificationReport]


def found(report: VerificationReport) -> list[str]:
    return [finding.format() for finding in report.findings]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("vocab.txt", b"a\na\n", "vocab.txt: expected sha256 "),
        ("vocab.txt", None, "vocab.txt: expected a file, found nothing"),
        ("vocab.txt.json", b"[", "vocab.txt.json: expected a JSON object, found invalid JSON: Expecting value"),
        ("vocab.txt.json", b"{}", "vocab.txt.json: expected size 12, found None"),
        ("vocab.txt.json", None, "vocab.txt.json: expected a file, found nothing"),
    ],
)
def test_invalid_vocabulary_files_are_findings(
    copy: LabelledDataSet, check: Check, name: str, content: bytes | None, words: str
):
    path = copy.root / name
    path.unlink() if content is None else path.write_bytes(content)
    lines = found(check(copy.root))
    assert any(line.startswith(words) for line in lines), lines


def describe_vocabulary(data_set: LabelledDataSet, **settings: Any) -> None:
    path = data_set.root / "vocab.txt.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"segmenter": {"han": "simplified"}}, "expected segmenter.han 'as-read' (segmentation.han of manifest"),
        ({"segmenter": 3}, "expected an object as segmenter, found 3"),
        ({"normalisation": "NFKC"}, "expected an object as normalisation, found 'NFKC'"),
    ],
)
def test_vocabulary_with_different_rules_is_a_finding(
    copy: LabelledDataSet, check: Check, settings: dict[str, Any], words: str
):
    describe_vocabulary(copy, **settings)
    for quick in (True, False):
        (line,) = found(check(copy.root, quick=quick))
        assert line.startswith(f"vocab.txt.json: {words}")


def test_vocabulary_with_a_different_version_of_the_rules_is_a_notice(copy: LabelledDataSet, check: Check):
    """The vocabulary may be older than the rules that segmented the lines."""
    describe_vocabulary(copy, segmenter={**read_object(copy.manifest_path)["segmentation"], "version": 1})
    report = check(copy.root)
    assert (report.broken, report.notices) == (
        0,
        ["vocabulary and lines were segmented with different rules: version 1 (vocabulary), 2 (lines)"],
    )


@pytest.mark.parametrize(("words", "size"), [(b"a\na\n", 2), (b"a\nb\n", 3), (b"a", 1), (b"\xff\n", 1)])
def test_invalid_vocabulary_with_the_expected_hash_is_a_finding(
    copy: LabelledDataSet, check: Check, words: bytes, size: int
):
    copy.vocabulary_path.write_bytes(words)
    named = {"size": size, "sha256": hashlib.sha256(words).hexdigest()}
    (copy.root / "vocab.txt.json").write_text(json.dumps(named))
    copy.manifest_path.write_text(json.dumps({**read_object(copy.manifest_path), "vocabulary": named}))
    assert found(check(copy.root))[0].startswith("vocab.txt: expected a valid vocabulary, found ")


@pytest.mark.parametrize("change", [{"segmentation": {"version": 1}}, {"versions": {"jieba": "0"}}])
def test_text_segmented_with_different_rules_is_not_compared(
    copy: LabelledDataSet, check: Check, edited: Any, rehash: Any, change: dict[str, Any]
):
    manifest = read_object(copy.manifest_path)
    copy.manifest_path.write_text(json.dumps({**manifest, **change}))
    report = check(copy.root)
    assert report.broken == 0
    (notice,) = report.notices
    assert notice.startswith(
        "words and tags were not compared with the text, which was segmented with different rules: "
    )
    # The labels follow from the row's places, which needs no rules.
    edited(copy.records_path(0), lambda rows: [place.update(id=9) for place in rows[0]["tags"] if place["id"] == 0])
    rehash(copy)
    assert ["label 0" in line for line in found(check(copy.root))] == [True]
