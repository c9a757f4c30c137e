"""The result for one image. This module imports no package that only workers need."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from ovocr.dataset.lines import Box, Line
from ovocr.dataset.reasons import Reason


class Status(str, Enum):
    """The status of an image.

    ok: the image has a record. dropped: it was read but has no labels. quarantined: it could not be read.
    """

    OK = "ok"
    DROPPED = "dropped"
    QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Place:
    """A place in an image where a word of the vocabulary stands. An image's tags are its distinct class ids.

    id: class id of the word. line: index of its line. box: box of the word.
    In a packed data set, a tag without a place: line and box are None.
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
    places: places of the tags in reading order, or the tags in the order of the packed table.
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
    places: Sequence[Place] = ()
    slots: Sequence[int] = ()

    @property
    def tags(self) -> list[int]:
        """The distinct class ids, in order of appearance."""
        return distinct_ids(self.places)


def distinct_ids(places: Iterable[Place]) -> list[int]:
    """Returns the tags of an image: the class ids of its places, each once, in order of appearance."""
    return list(dict.fromkeys(place.id for place in places))


def quarantined(reason: Reason, detail: str) -> Outcome:
    """Returns the outcome of an image that could not be read."""
    return Outcome(status=Status.QUARANTINED, reason=reason, detail=detail)
