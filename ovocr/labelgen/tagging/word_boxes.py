"""Cuts the box of a word out of its line's box."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np

from ovocr.dataset.lines import BOX_DECIMALS, Box, Line, box_size, runs_down, whole_image

# A word's box begins and ends this share of the line's thickness beside its ink: benchmarks/word_boxes.py.
_INK_MARGIN = 0.07


class LineBoxes:
    """Finds the boxes of words in the lines of one image.

    width, height: size of the image in pixels. margin: as in ``Manifest.box_margin``.
    """

    def __init__(self, lines: Sequence[Line], width: int, height: int, margin: float) -> None:
        self._lines = lines
        self._margin = margin
        self._whole = whole_image(width, height)

    def word(self, line: int, start: float, end: float) -> Box:
        """Returns the box of the characters from ``start`` to ``end``, offsets in the text of a line.

        The edges of the line's characters are used if they are known. Otherwise the characters share the length of the
        box by their display columns (wide 2, narrow 1, combining 0). In a line that is the whole image, every word has
        the whole image as its box, because nobody said where in the image the text is.
        """
        found = self._lines[line]
        if found.edges:
            return _inside_margin(found, start, end, self._margin)
        if found.box == self._whole:
            return found.box
        edges = display_edges(found.text)
        return cut_box(found.box, *_interpolate(edges, start, end))


def display_edges(text: str) -> list[float]:
    """Returns the edges of the characters, each as wide as its display columns, as fractions of the text's length."""
    columns = [0, *accumulate(map(_display_columns, text))]
    return [column / columns[-1] for column in columns] if columns[-1] else [0.0, *[1.0] * len(text)]


def cut_box(box: Box, start: float, end: float, top: float = 0.0, bottom: float = 1.0) -> Box:
    """Returns a part of a line's box.

    start, end: fractions of its length in reading direction. top, bottom: fractions across that direction: from the top
    for text that runs from left to right, from the right for text that runs down.
    """
    x1, y1, x2, y2, x3, y3, x4, y4 = box
    if runs_down(box):  # from the top left of the text, which is the top right of the image
        corners = _part(((x2, y2), (x3, y3), (x4, y4), (x1, y1)), start, end, top, bottom)
        corners = [corners[3], *corners[:3]]
    else:
        corners = _part(((x1, y1), (x2, y2), (x3, y3), (x4, y4)), start, end, top, bottom)
    return tuple(round(value, BOX_DECIMALS) for corner in corners for value in corner)


def _inside_margin(line: Line, start: float, end: float, margin: float) -> Box:
    """Returns the box of a word between the edges of its characters, without the detector's margin."""
    across, down = box_size(line.box)
    length, thickness = (down, across) if runs_down(line.box) else (across, down)
    first, last = _interpolate(line.edges, start, end)
    beside = _INK_MARGIN * thickness / length if length else 0.0
    return cut_box(line.box, max(0.0, first - beside), min(1.0, last + beside), margin, 1 - margin)


def _interpolate(edges: Sequence[float], start: float, end: float) -> list[float]:
    found: list[float] = np.interp([start, end], np.arange(len(edges)), edges).tolist()
    return found


_Point = tuple[float, float]


def _part(corners: Sequence[_Point], start: float, end: float, top: float, bottom: float) -> list[_Point]:
    """Returns a part of a quadrilateral. corners: clockwise from the top left of its text."""
    top_left, top_right, bottom_right, bottom_left = corners
    upper, lower = (
        (_between(top_left, bottom_left, share), _between(top_right, bottom_right, share)) for share in (top, bottom)
    )
    return [_between(*upper, start), _between(*upper, end), _between(*lower, end), _between(*lower, start)]


def _between(start: _Point, end: _Point, share: float) -> _Point:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


@lru_cache(maxsize=65_536)
def _display_columns(character: str) -> int:
    """Returns the character's terminal columns (Unicode's East_Asian_Width; ambiguous characters are narrow)."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "FW" else 1
