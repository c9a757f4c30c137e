"""Checks an image's words and tags against its stored text."""

from pathlib import Path

import numpy as np

from ovocr.dataset.outcome import Outcome, Status, Tag
from ovocr.dataset.reasons import Reason
from ovocr.dataset.records import RecordRow
from ovocr.dataset.text import StoredText
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.labelgen.verification.finding import Findings


def check_against_text(
    path: Path, row: RecordRow, text: StoredText, labeller: LineLabeller, findings: Findings
) -> Outcome:
    """Returns the outcome that follows from the text; adds findings if the row differs. path: file of records."""
    outcome = labeller(row.key, text.width, text.height, text.lines)
    for name in ("words_found", "words_in_vocabulary"):
        if getattr(row, name) != getattr(outcome, name):
            findings.add(path, f"{row.name}, {name}", f"{getattr(outcome, name)} (from its text)", getattr(row, name))
    # An image has words in the vocabulary but no record only if its source is out of reach.
    out_of_reach = row.status == Status.DROPPED and row.reason == Reason.SOURCE_OUT_OF_REACH
    if out_of_reach and outcome.status is Status.OK:
        return outcome
    if row.status != outcome.status or row.reason != outcome.reason:
        expected, found = _state(outcome.status, outcome.reason), _state(row.status, row.reason)
        findings.add(path, f"{row.name}, status", f"{expected} (from its text)", found)
    elif (difference := _first_difference(list(outcome.tags), row.tags)) is not None:
        number, expected, found = difference
        findings.add(path, f"{row.name}, tag {number}", f"{expected} (from its text)", found)
    return outcome


def _state(status: str, reason: str | None) -> str:
    parts = [Status(status).value if isinstance(status, Status) else status]
    if reason is not None:
        parts.append(reason.value if isinstance(reason, Reason) else reason)
    return " ".join(parts)


def _first_difference(expected: list[Tag], found: list[Tag]) -> tuple[int, str, str] | None:
    if _are_equal(expected, found):
        return None
    for number in range(max(len(expected), len(found))):
        pair = [_describe(tags[number]) if number < len(tags) else "none" for tags in (expected, found)]
        if pair[0] != pair[1]:
            return number, pair[0], pair[1]
    return None


def _are_equal(expected: list[Tag], found: list[Tag]) -> bool:
    """Returns True if the tags are equal. Boxes are compared as float32, the stored type."""
    if [(tag.id, tag.line) for tag in expected] != [(tag.id, tag.line) for tag in found]:
        return False
    boxes, stored = (np.array([tag.box for tag in tags], np.float32) for tags in (expected, found))
    return np.array_equal(boxes, stored)


def _describe(tag: Tag) -> str:
    box = None if tag.box is None else np.asarray(tag.box, np.float32).tolist()
    return f"class id {tag.id} in line {tag.line} at {box}"
