"""What became of an image: its rows in a data set's files. Needs no package that only workers need."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ovocr.dataset.boxes import Box
from ovocr.dataset.lines import Line
from ovocr.dataset.reasons import Reason


class Status(str, Enum):
    """What an image became: a record, a drop (without a label) or a quarantine (not read)."""

    OK = "ok"
    DROPPED = "dropped"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Tag:
    """A class id of an image. line: index of the line where its word stands first. box: interpolated along the line.

    Both are None for a class that is no word.
    """

    id: int
    line: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One image's row in each file.

    jpeg, slots: what is stored in the record, for an image that is ok. width, height, lines: of the stored picture,
    for one that was read. words_found, words_in_vocabulary: words read in it, repeats counted. tags: its distinct
    classes: words that are in the vocabulary, in order of appearance, or what a table says, in the table's order.
    """

    status: Status
    reason: Reason | None = None
    detail: str = ""
    jpeg: bytes = b""
    width: int = 0
    height: int = 0
    lines: Sequence[Line] = ()
    words_found: int = 0
    words_in_vocabulary: int = 0
    tags: Sequence[Tag] = ()
    slots: Sequence[int] = ()


def quarantined(reason: Reason, detail: str) -> Outcome:
    """The outcome of an image that could not be read."""
    return Outcome(status=Status.QUARANTINED, reason=reason, detail=detail)
