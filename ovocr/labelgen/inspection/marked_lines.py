"""A line of text as it was read, cut where its words begin and end."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ovocr.vocab.segmentation.segmenter import FoundWord

# Stands beside a character that is normalised by itself: nothing composes with it, and it is no space to be cut off.
_GUARD = "|"


@dataclass(frozen=True)
class Piece:
    """A part of a line. word: what it is to the vocabulary, None between words."""

    text: str
    word: str | None = None


def cut_line(line: str, words: Sequence[FoundWord], normalise: Callable[[str], str]) -> list[Piece]:
    """The line in pieces that together are the line, each word one of them.

    words: of the line, with their offsets in ``normalise(line)``. Where the normalised line cannot be laid beside the
    line character by character, the line is one piece, and its words stand behind it, each after a space.
    """
    if not words:
        return [Piece(line)]
    starts = _starts(line, normalise)
    if starts is None:
        return [Piece(line), *(piece for word in words for piece in (Piece(" "), Piece(word.text, word.text)))]
    pieces, at = [], 0
    for word in words:
        start, end = starts[word.start], starts[word.end]
        pieces += [Piece(line[at:start]), Piece(line[start:end], word.text)]
        at = end
    return [piece for piece in (*pieces, Piece(line[at:])) if piece.text]


def _starts(line: str, normalise: Callable[[str], str]) -> list[int] | None:
    """For each character of the normalised line and its end: where in the line it comes from."""
    normalised, starts = "", []
    for start, end in pairwise([*_cluster_starts(line), len(line)]):
        part = normalise(f"{_GUARD}{line[start:end]}{_GUARD}")[1:-1]
        normalised += part
        starts += [start] * len(part)
    starts.append(len(line))
    leading = len(normalised) - len(normalised.lstrip(" "))
    whole = normalised.strip(" ")
    return starts[leading : leading + len(whole) + 1] if whole == normalise(line) else None


def _cluster_starts(line: str) -> list[int]:
    """Where characters begin, a base and the marks on it together: they may be normalised to one."""
    return [place for place, char in enumerate(line) if not place or not unicodedata.category(char).startswith("M")]
