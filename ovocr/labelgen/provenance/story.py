"""The explanation of an image and its tags."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ovocr.dataset.lines import Box
from ovocr.dataset.slots import ForeignSlots
from ovocr.labelgen.tagging.word_boxes import BoxOrigin


@dataclass(frozen=True)
class CutWord:
    """A normalised word of a line.

    id: class id; None if the word is not in the vocabulary.
    start, end: fractions of the line's length; None if they are unknown, because the line is the whole image.
    left_out: why the tag policy leaves out a word of the vocabulary; empty if it is a tag.
    """

    word: str
    id: int | None
    start: float | None
    end: float | None
    left_out: str = ""


@dataclass(frozen=True, kw_only=True)
class LineStory:
    """A line and its words.

    number: index of the line, from 0. score: 0 to 1. box: pixels of the stored image.
    box_origin: what the boxes of its words follow from.
    """

    number: int
    text: str
    score: float
    box: Box
    box_origin: BoxOrigin
    words: Sequence[CutWord]


@dataclass(frozen=True, kw_only=True)
class PlaceStory:
    """A place of a tag. word: index of the word among the line's words, from 0; None if the line lacks the word."""

    line: LineStory
    word: int | None
    box: Box

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``. The line is its number."""
        return {"line": self.line.number, "word": self.word, "box": self.box, "box_origin": self.line.box_origin}


@dataclass(frozen=True, kw_only=True)
class TagStory:
    """A tag of an image.

    word: None in a packed data set. places: in reading order; none in a packed data set.
    slots: slots that contain the tag; empty if it was left out or there is no record.
    ranks: ranks of the word in the order in which words are kept, from 0; empty if there are enough slots.
    weight: weight of the word in the draw; None if the policy is not idf.
    """

    id: int
    word: str | None
    places: list[PlaceStory]
    slots: list[int]
    ranks: list[int]
    weight: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``: line, box and number of the word (``place``) are of the first place."""
        first = self.places[0].to_json() if self.places else dict.fromkeys(("line", "word", "box"))
        return {
            "id": self.id,
            "word": self.word,
            "line": first["line"],
            "box": first["box"],
            "place": first["word"],
            "places": [place.to_json() for place in self.places],
            "slots": self.slots,
            "ranks": self.ranks,
            "weight": self.weight,
        }


@dataclass(frozen=True)
class Explanation:
    """The explanation of each image with the key. left_out: a line for each unreadable table."""

    stories: list["ImageStory"]
    left_out: list[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        return {"images": [story.to_json() for story in self.stories], "left_out": self.left_out}


@dataclass(frozen=True, kw_only=True)
class ImageStory:
    """An image with the key.

    shard, row: shard and position of its row of records. record_id: None if there is no record.
    size: width and height of the stored image in pixels, if the image was read.
    words_found, words_in_vocabulary: None in a packed data set.
    slots: number of slots of a record. competing: number of words that compete for slots.
    rule: rule that selects words; empty if there are enough slots.
    left_out: words of the vocabulary that the tag policy leaves out, each with its line.
    answers: a sentence for each requested class id that is not a tag. notes: sentences about the data set.
    foreign_slots: slots of the record that do not contain a tag of the image. damage: sentences about them.
    """

    key: str
    source: str
    shard: int
    row: int
    status: str
    reason: str | None
    detail: str | None
    record_id: int | None
    size: tuple[int, int] | None
    words_found: int | None
    words_in_vocabulary: int | None
    slots: int
    competing: int
    rule: str
    lines: list[LineStory]
    left_out: list[tuple[LineStory, CutWord]]
    tags: list[TagStory]
    answers: list[str]
    notes: list[str]
    foreign_slots: list[ForeignSlots]
    damage: list[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        left_out = [{"word": word.word, "line": line.number, "why": word.left_out} for line, word in self.left_out]
        return {**asdict(self), "left_out": left_out, "tags": [tag.to_json() for tag in self.tags]}
