"""The explanation of an image and of each of its tags."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ovocr.dataset.boxes import Box
from ovocr.dataset.slots import ForeignSlots


@dataclass(frozen=True)
class CutWord:
    """A normalised word of a line. id: its class id; None if it is not in the vocabulary.

    start, end: fractions of the line's length.
    """

    word: str
    id: int | None
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class LineStory:
    """A line and its words. number: from 0. score: 0 to 1. box: in pixels of the stored image."""

    number: int
    text: str
    score: float
    box: Box
    words: Sequence[CutWord]


@dataclass(frozen=True, kw_only=True)
class TagStory:
    """A tag.

    word, line, box: None in a packed data set. place: of the word in its line's words, from 0.
    slots: of the record that hold it; empty if it was left out or there is no record.
    ranks: places of the word in the order in which words are kept, from 0, if there are more words than slots.
    weight: with which the word is drawn; None unless the policy is idf.
    """

    id: int
    word: str | None
    line: LineStory | None
    box: Box | None
    place: int | None
    slots: list[int]
    ranks: list[int]
    weight: float | None


@dataclass(frozen=True)
class Explanation:
    """A story for each image with the key. left_out: a line for each table that cannot be read."""

    stories: list["ImageStory"]
    left_out: list[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the stories for ``--json``."""
        return {"images": [story.to_json() for story in self.stories], "left_out": self.left_out}


@dataclass(frozen=True, kw_only=True)
class ImageStory:
    """An image with the key.

    shard, row: place of its row of records. record_id: None without a record.
    size: width and height of the stored image, if it was read.
    words_found, words_in_vocabulary: None in a packed data set.
    competing: number of words that compete for slots. rule: how they get them, if there are more words than slots.
    answers: sentences about class ids that were asked for and are no tags. notes: sentences about the data set.
    foreign_slots: slots of the record that hold no tag of the image. damage: sentences about them.
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
    tags: list[TagStory]
    answers: list[str]
    notes: list[str]
    foreign_slots: list[ForeignSlots]
    damage: list[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name; a tag's line is its number in the list of lines."""
        tags = [{**asdict(tag), "line": None if tag.line is None else tag.line.number} for tag in self.tags]
        return {**asdict(self), "tags": tags}
