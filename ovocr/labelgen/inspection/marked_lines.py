"""Cuts a recognised line into its words and the text between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ovocr.vocab import LocatedWord


@dataclass(frozen=True)
class Piece:
    """A part of a line. word: the normalised word; None for text between words."""

    text: str
    word: str | None = None


def cut_line(line: str, words: Sequence[LocatedWord]) -> list[Piece]:
    """Cuts the line into pieces; each word is one piece. words: the words of the line, in order."""
    pieces, position = [], 0
    for word in words:
        start, end = max(position, math.floor(word.start)), math.ceil(word.end)
        pieces += [Piece(line[position:start]), Piece(line[start:end], word.text)]
        position = max(position, end)
    pieces.append(Piece(line[position:]))
    return [piece for piece in pieces if piece.text or piece.word is not None]
