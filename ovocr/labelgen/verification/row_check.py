"""Checks a row of records, alone and against its text."""

import math
from pathlib import Path

from ovocr.dataset.lines import Box
from ovocr.dataset.manifest import Manifest
from ovocr.dataset.outcome import Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.records import RecordRow
from ovocr.dataset.text import StoredText
from ovocr.labelgen.verification.finding import Findings

# Engines round corners to pixels, storage to hundredths.
_EDGE_PIXELS = 1.0


class RowCheck:
    """Checks the rows of a shard in order."""

    def __init__(self, path: Path, manifest: Manifest, shard: int, findings: Findings) -> None:
        self._path = path
        self._classes = manifest.num_classes
        self._source = manifest.shards[shard].source
        self._reasons = _reasons(manifest.has_text)
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
        if (row.status == Status.OK) != bool(row.tags):
            expected = "at least one" if row.status == Status.OK else f"none (status {row.status})"
            self._add(row, "tags", expected, str(len(row.tags)))
        self._check_ids(row)

    def _check_record_id(self, row: RecordRow) -> None:
        """Checks that ids are contiguous. After a gap, the next id is expected to follow the found one."""
        expected = self._next_record if row.status == Status.OK else None
        if row.record_id != expected:
            self._add(row, "record_id", _or_null(expected), _or_null(row.record_id))
        if expected is not None:
            self._next_record = (expected if row.record_id is None else row.record_id) + 1

    def _check_ids(self, row: RecordRow) -> None:
        ids = [tag.id for tag in row.tags]
        for number, id in enumerate(ids):
            if not 0 <= id < self._classes:
                self._add(row, f"tag {number}", f"a class id below {self._classes}", str(id))
        if len(set(ids)) < len(ids):
            self._add(row, "tags", "distinct class ids", str(ids))

    def _add(self, row: RecordRow, where: str, expected: str, found: str) -> None:
        self._findings.add(self._path, f"{row.name}, {where}", expected, found)


def _reasons(has_text: bool) -> dict[str, set[str | None]]:
    """Maps each status to its reasons."""
    all_dropped = {reason for reason in Reason if reason.drops}
    dropped = all_dropped - {Reason.NO_LABELS} if has_text else {Reason.NO_LABELS}
    return {
        Status.OK.value: {None},
        Status.DROPPED.value: {reason.value for reason in dropped},
        Status.QUARANTINED.value: {reason.value for reason in set(Reason) - all_dropped},
    }


def _or_null(number: int | None) -> str:
    return "null" if number is None else str(number)


def check_text(path: Path, row: RecordRow, text: StoredText, findings: Findings) -> bool:
    """Returns True if size, boxes and scores are valid; otherwise adds findings. path: file with the texts."""
    before = findings.count
    size = f"{text.width}x{text.height} pixels"
    if not (text.width > 0 and text.height > 0):
        findings.add(path, row.key, "a width and height above 0", size)
    for number, line in enumerate(text.lines):
        if not _is_inside(line.box, text):
            findings.add(path, f"{row.key}, line {number}", f"a box inside {size}", line.box)
        if not 0 <= line.score <= 1:
            findings.add(path, f"{row.key}, line {number}", "a score from 0 to 1", line.score)
    return findings.count == before


def check_tags(path: Path, row: RecordRow, text: StoredText, findings: Findings) -> None:
    """Checks that the tags of a row have a line and a box inside the image. path: file with the records."""
    for number, tag in enumerate(row.tags):
        if tag.line is None or not 0 <= tag.line < len(text.lines):
            findings.add(
                path, f"{row.name}, tag {number}", f"a line from 0 to {len(text.lines) - 1}", f"line {tag.line}"
            )
        if tag.box is None or not _is_inside(tag.box, text):
            size = f"{text.width}x{text.height} pixels"
            findings.add(path, f"{row.name}, tag {number}", f"a box inside {size}", tag.box)


def _is_inside(box: Box, text: StoredText) -> bool:
    limits = (text.width, text.height) * 4
    return all(
        math.isfinite(value) and -_EDGE_PIXELS <= value <= limit + _EDGE_PIXELS
        for value, limit in zip(box, limits, strict=True)
    )
