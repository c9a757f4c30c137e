"""A recognised line of text."""

from dataclasses import dataclass

from ovocr.dataset.boxes import Box

SCORE_DECIMALS = 4


@dataclass(frozen=True)
class Line:
    """A line of text. score: 0 to 1, 4 decimals. box: corners in pixels of the stored image, 2 decimals."""

    text: str
    score: float
    box: Box
