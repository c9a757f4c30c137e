"""Checks a row of records, alone and against its text."""

import math
from itertools import pairwise
from pathlib import Path

from ovocr.dataset.lines import Box, Line
from ovocr.dataset.manifest import Manifest
from ovocr.dataset.outcome import Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.records import RecordRow
from ovocr.dataset.text import StoredText
from ovocr.labelgen.verification.finding import Findings

# Engines round corners to pixels, storage to hundredths.
_EDGE_PIXELS = 1.0
# Reasons that only images of one kind of data set have.
_OF_ENGINES, _OF_GIVEN_TEXT = {Reason.ENGINE_ERROR}, {Reason.NO_LINES_GIVEN, Reason.WRONG_BOXES}


class RowCheck:
    """Checks the rows of a shard in order. source: of the shard's images."""

    def __init__(self, path: Path, manifest: Manifest, source: str, findings: Findings) -> None:
        self._path = path
        self._classes = manifest.num_classes
        self._has_text = manifest.has_text
        self._entry = "place" if manifest.has_text else "tag"
        self._source = source
        self._reasons = _reasons(manifest)
        self._leaves_words_out = manifest.policy.leaves_words_out
        self._next_record = 0
        self._findings = findings

    def __call__(self, row: RecordRow) -> None:
        """Adds a finding for each problem with the next row."""
        if row.source != self._source:
            self._add(row, "source", f"{self._source!r} (from manifest.json)", repr(row.source))
        if row.status not in self._reasons:
            self._add(row, "status", f"one of {', '.join(status.value for status in Status)}", repr(row.status))
        elif row.reason not in self._reasons[row.status]:
            reasons = ", ".join(sorted(str(reason) for reason in self._reasons[row.status]))
            self._add(row, "reason", f"a reason for status {row.status} ({reasons})", repr(row.reason))
        self._check_record_id(row)
        if (row.status == Status.OK) != bool(row.places):
            expected = "at least one" if row.status == Status.OK else f"none (status {row.status})"
            self._add(row, f"{self._entry}s", expected, str(len(row.places)))
        self._check_ids(row)
        if not self._has_text and len(row.tags) < len(row.places):
            self._add(row, "tags", "distinct class ids", str([place.id for place in row.places]))
        elif self._has_text and row.status == Status.OK and row.words_in_vocabulary is not None:
            self._check_number_of_places(row, row.words_in_vocabulary)

    def _check_number_of_places(self, row: RecordRow, words: int) -> None:
        """Checks that each word of the vocabulary has a place, unless the policy leaves words out."""
        if self._leaves_words_out and len(row.places) > words:
            self._add(row, "places", f"at most {words} (words_in_vocabulary)", str(len(row.places)))
        elif not self._leaves_words_out and len(row.places) != words:
            self._add(row, "places", f"{words} (words_in_vocabulary)", str(len(row.places)))

    def _check_record_id(self, row: RecordRow) -> None:
        """Checks that ids are contiguous. After a gap, the next id is expected to follow the found one."""
        expected = self._next_record if row.status == Status.OK else None
        if row.record_id != expected:
            self._add(row, "record_id", _or_null(expected), _or_null(row.record_id))
        if expected is not None:
            self._next_record = (expected if row.record_id is None else row.record_id) + 1

    def _check_ids(self, row: RecordRow) -> None:
        for number, place in enumerate(row.places):
            if not 0 <= place.id < self._classes:
                self._add(row, f"{self._entry} {number}", f"a class id below {self._classes}", str(place.id))

    def _add(self, row: RecordRow, where: str, expected: str, found: str) -> None:
        self._findings.add(self._path, f"{row.name}, {where}", expected, found)


def _reasons(manifest: Manifest) -> dict[str, set[str | None]]:
    """Maps each status to its reasons."""
    allowed = set(Reason) - (_OF_ENGINES if manifest.has_given_text else _OF_GIVEN_TEXT) - _other_limits(manifest)
    dropped = {reason for reason in allowed if reason.drops}
    return {
        Status.OK.value: {None},
        Status.DROPPED.value: {
            reason.value for reason in dropped if (reason is Reason.NO_LABELS) is not manifest.has_text
        },
        Status.QUARANTINED.value: {reason.value for reason in allowed - dropped},
    }


def _other_limits(manifest: Manifest) -> set[Reason]:
    """Returns the reasons of limits that the policy does not set."""
    policy = manifest.policy
    own = {Reason.BELOW_MIN_SCORE: policy.min_score > 0, Reason.BELOW_MIN_LETTERS: policy.min_letters > 1}
    return {reason for reason, is_set in own.items() if not is_set}


def _or_null(number: int | None) -> str:
    return "null" if number is None else str(number)


def check_text(path: Path, row: RecordRow, text: StoredText, findings: Findings) -> bool:
    """Returns True if size, boxes, scores and edges are valid; otherwise adds findings. path: file with the texts."""
    before = findings.count
    size = f"{text.width}x{text.height} pixels"
    if not (text.width > 0 and text.height > 0):
        findings.add(path, row.key, "a width and height above 0", size)
    for number, line in enumerate(text.lines):
        if not _is_inside(line.box, text):
            findings.add(path, f"{row.key}, line {number}", f"a box inside {size}", line.box)
        if not 0 <= line.score <= 1:
            findings.add(path, f"{row.key}, line {number}", "a score from 0 to 1", line.score)
        if not _has_valid_edges(line):
            expected = f"no edges or {len(line.text) + 1} ascending edges from 0 to 1"
            findings.add(path, f"{row.key}, line {number}", expected, line.edges)
    return findings.count == before


def check_places(path: Path, row: RecordRow, text: StoredText, findings: Findings) -> None:
    """Checks that the places of a row have a line and a box inside the image. path: file with the records."""
    for number, place in enumerate(row.places):
        where = f"{row.name}, place {number}"
        if place.line is None or not 0 <= place.line < len(text.lines):
            findings.add(path, where, f"a line from 0 to {len(text.lines) - 1}", f"line {place.line}")
        if place.box is None or not _is_inside(place.box, text):
            findings.add(path, where, f"a box inside {text.width}x{text.height} pixels", place.box)


def _is_inside(box: Box, text: StoredText) -> bool:
    limits = (text.width, text.height) * 4
    return all(
        math.isfinite(value) and -_EDGE_PIXELS <= value <= limit + _EDGE_PIXELS
        for value, limit in zip(box, limits, strict=True)
    )


def _has_valid_edges(line: Line) -> bool:
    edges = line.edges
    if not edges:
        return True
    # A comparison with NaN is false.
    ascending = all(before <= after for before, after in pairwise((0.0, *edges, 1.0)))
    return len(edges) == len(line.text) + 1 and ascending
