"""Cuts a recognised line into its words and the text between them."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ovocr.vocab.segmentation.segmenter import FoundWord

# Encloses a character during normalisation. It does not compose with characters and is not stripped like a space.
_GUARD = "|"


@dataclass(frozen=True)
class Piece:
    """A part of a line. word: the normalised word; None for text between words."""

    text: str
    word: str | None = None


def cut_line(line: str, words: Sequence[FoundWord], normalise: Callable[[str], str]) -> list[Piece]:
    """Cuts the line into pieces; each word is one piece.

    words: the words of the line, with their offsets in ``normalise(line)``. If the normalised line cannot be aligned
    with the line character by character, the line is one piece and its words follow, each after a space.
    """
    if not words:
        return [Piece(line)]
    starts = _starts(line, normalise)
    if starts is None:
        return [Piece(line), *(piece for word in words for piece in (Piece(" "), Piece(word.text, word.text)))]
    pieces, position = [], 0
    for word in words:
        start, end = starts[word.start], starts[word.end]
        pieces += [Piece(line[position:start]), Piece(line[start:end], word.text)]
        position = end
    return [piece for piece in (*pieces, Piece(line[position:])) if piece.text]


def _starts(line: str, normalise: Callable[[str], str]) -> list[int] | None:
    """Returns, for each character of the normalised line and for its end, the offset in the line.

    Returns None if the line cannot be aligned with the normalised line.
    """
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
    """Returns the offsets of base characters. Normalisation may combine a base character with its marks."""
    return [
        position for position, char in enumerate(line) if not position or not unicodedata.category(char).startswith("M")
    ]
