"""What is told of an image and of each of its tags."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ovocr.dataset.boxes import Box
from ovocr.dataset.slots import ForeignSlots


@dataclass(frozen=True)
class CutWord:
    """A word of a line, normalised. id: its class id, None for one that the vocabulary does not have.

    start, end: fractions of the line's length.
    """

    word: str
    id: int | None
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class LineStory:
    """A line as it was read and as it is cut. number: from 0. score: 0 to 1. box: in pixels of the stored picture."""

    number: int
    text: str
    score: float
    box: Box
    words: Sequence[CutWord]


@dataclass(frozen=True, kw_only=True)
class TagStory:
    """A tag. word, line, box: None for a class that is no word. place: of the word in its line's words, from 0.

    slots: where the record has it, none for one that was left out or has no record. ranks: of an image with more words
    than slots, at which place of the order, from 0, the word stands, each time that it takes part; the first are kept.
    weight: by which it is drawn with the policy idf, else None.
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
    """A story for each image with the key. left_out: a line for each table that could not be looked into."""

    stories: list["ImageStory"]
    left_out: list[str]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"images": [story.to_json() for story in self.stories], "left_out": self.left_out}


@dataclass(frozen=True, kw_only=True)
class ImageStory:
    """An image with one key. shard, row: its row of records. record_id: None for one without a record.

    size: width and height of the stored picture, of one that was read. words_found, words_in_vocabulary: None where
    pictures are not read. competing: how many words ask for slots. rule: which of them get one, where there are more
    than slots. answers: to what was asked for and is no tag. notes: what to know about the data set. foreign_slots: of
    the record, which hold none of the tags. damage: what is wrong with the record's slots, in words.
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
        """All of it, by the fields' names; of a tag's line its number alone, since the lines are listed."""
        tags = [{**asdict(tag), "line": None if tag.line is None else tag.line.number} for tag in self.tags]
        return {**asdict(self), "tags": tags}
