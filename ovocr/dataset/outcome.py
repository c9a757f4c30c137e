"""The result for one image, before it is written. Imports no package that only workers need."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ovocr.dataset.boxes import Box
from ovocr.dataset.lines import Line
from ovocr.dataset.reasons import Reason


class Status(str, Enum):
    """ok: the image has a record. dropped: it was read and has no label. quarantined: it could not be read."""

    OK = "ok"
    DROPPED = "dropped"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Tag:
    """A class id of an image. line: index of the first line with its word. box: interpolated along the line.

    Line and box are None in a packed data set.
    """

    id: int
    line: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result for one image.

    jpeg, slots: of the record, if the image is ok.
    width, height, lines: of the stored image, if the image was read.
    words_found, words_in_vocabulary: with repeats.
    tags: distinct class ids in reading order, or in the order of the table of a packed data set.
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
    """Returns the outcome of an image that could not be read."""
    return Outcome(status=Status.QUARANTINED, reason=reason, detail=detail)
