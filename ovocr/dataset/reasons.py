"""Codes for the reasons why an image has no record. Records and statistics contain them."""

from enum import Enum


class Reason(str, Enum):
    """The codes. docs/labelling.md, docs/given_text.md and docs/packing.md explain them."""

    # Quarantined: the image could not be read.
    EMPTY = "empty"
    NOT_AN_IMAGE = "not-an-image"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    TOO_MANY_PIXELS = "too-many-pixels"
    SIDE_TOO_LONG = "side-too-long"
    TOO_ELONGATED = "too-elongated"
    FILE_TOO_LARGE = "file-too-large"
    UNREADABLE = "unreadable"
    DAMAGED_SOURCE = "damaged-source"
    ENGINE_ERROR = "engine-error"
    WRONG_BOXES = "wrong-boxes"
    TIMEOUT = "timeout"
    WORKER_DIED = "worker-died"
    # Dropped: the image was read but has no labels.
    NO_TEXT = "no-text"
    NO_WORD = "no-word"
    NO_WORD_IN_VOCABULARY = "no-word-in-vocabulary"
    # Dropped: the tag policy leaves out all words of the vocabulary.
    BELOW_MIN_SCORE = "below-min-score"
    BELOW_MIN_LETTERS = "below-min-letters"
    # Dropped: relabelling found tags, but the image could not be read from its source.
    SOURCE_OUT_OF_REACH = "source-out-of-reach"
    # Dropped: the table of lines has no row for the image.
    NO_LINES_GIVEN = "no-lines-given"
    # Dropped: the table of class ids has no row for the image.
    NO_LABELS = "no-labels"

    @property
    def drops(self) -> bool:
        """True if images with this reason are dropped, False if they are quarantined."""
        return self in _DROPPING


_DROPPING = frozenset(
    {
        Reason.NO_TEXT,
        Reason.NO_WORD,
        Reason.NO_WORD_IN_VOCABULARY,
        Reason.BELOW_MIN_SCORE,
        Reason.BELOW_MIN_LETTERS,
        Reason.SOURCE_OUT_OF_REACH,
        Reason.NO_LINES_GIVEN,
        Reason.NO_LABELS,
    }
)


class QuarantinedError(Exception):
    """An image cannot be used. reason: the code. detail: explanation for the user."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
