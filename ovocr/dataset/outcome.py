"""The result for one image. This module imports no package that only workers need."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ovocr.dataset.boxes import Box
from ovocr.dataset.lines import Line
from ovocr.dataset.reasons import Reason


class Status(str, Enum):
    """The status of an image.

    ok: the image has a record. dropped: it was read but has no labels. quarantined: it could not be read.
    """

    OK = "ok"
    DROPPED = "dropped"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Tag:
    """A class id of an image.

    line: index of the first line that contains the word. box: box of the word, interpolated along the line.
    Both are None in a packed data set.
    """

    id: int
    line: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result for one image.

    detail: explanation of the reason.
    jpeg: the stored image, if the image is ok. slots: class ids in the record's slots, if the image is ok.
    width, height: size of the stored image in pixels, if the image was read. lines: its lines.
    words_found, words_in_vocabulary: numbers of words, counting repeats.
    tags: distinct class ids, in reading order or in the order of the packed table.
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
