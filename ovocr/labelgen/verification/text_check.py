"""Checks an image's words and places against its stored text."""

from pathlib import Path

import numpy as np

from ovocr.dataset.outcome import Place, Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.records import RecordRow
from ovocr.dataset.text import StoredText
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.labelgen.verification.finding import Findings


def check_against_text(
    path: Path, row: RecordRow, text: StoredText, labeller: LineLabeller, findings: Findings
) -> None:
    """Adds findings if the row differs from the outcome that follows from the text. path: file with the records."""
    lines_given = row.reason != Reason.NO_LINES_GIVEN
    outcome = labeller(row.key, text.width, text.height, text.lines, lines_given=lines_given)
    for name in ("words_found", "words_in_vocabulary"):
        if getattr(row, name) != getattr(outcome, name):
            findings.add(path, f"{row.name}, {name}", f"{getattr(outcome, name)} (from its text)", getattr(row, name))
    # An image that would have tags has no record only if its source is out of reach.
    out_of_reach = row.status == Status.DROPPED and row.reason == Reason.SOURCE_OUT_OF_REACH
    if out_of_reach and outcome.status is Status.OK:
        return
    # Before there was NO_WORD, images with lines but without a word had NO_TEXT.
    if outcome.reason is Reason.NO_WORD and row.status == Status.DROPPED and row.reason == Reason.NO_TEXT:
        return
    if row.status != outcome.status or row.reason != outcome.reason:
        expected, found = _state(outcome.status, outcome.reason), _state(row.status, row.reason)
        findings.add(path, f"{row.name}, status", f"{expected} (from its text)", found)
    elif (difference := _first_difference(list(outcome.places), row.places)) is not None:
        number, expected, found = difference
        findings.add(path, f"{row.name}, place {number}", f"{expected} (from its text)", found)


def _state(status: str, reason: str | None) -> str:
    parts = [Status(status).value if isinstance(status, Status) else status]
    if reason is not None:
        parts.append(reason.value if isinstance(reason, Reason) else reason)
    return " ".join(parts)


def _first_difference(expected: list[Place], found: list[Place]) -> tuple[int, str, str] | None:
    """Returns number, expected and found content of the first place that differs; None if the places are equal."""
    if _are_equal(expected, found):
        return None
    for number in range(max(len(expected), len(found))):
        pair = [_describe(places[number]) if number < len(places) else "none" for places in (expected, found)]
        if pair[0] != pair[1]:
            return number, pair[0], pair[1]
    return None


def _are_equal(expected: list[Place], found: list[Place]) -> bool:
    """Returns True if the places are equal. Boxes are compared as float32, the stored type."""
    if [(place.id, place.line) for place in expected] != [(place.id, place.line) for place in found]:
        return False
    boxes, stored = (np.array([place.box for place in places], np.float32) for places in (expected, found))
    return np.array_equal(boxes, stored)


def _describe(place: Place) -> str:
    box = None if place.box is None else np.asarray(place.box, np.float32).tolist()
    return f"class id {place.id} in line {place.line} at {box}"
