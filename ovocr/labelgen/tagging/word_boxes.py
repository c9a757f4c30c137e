"""Cuts the box of a word out of its line's box."""

import unicodedata
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from itertools import accumulate

import numpy as np

from ovocr.dataset.lines import BOX_DECIMALS, Box, Line, box_size, runs_down, whole_image

# A word's box begins and ends this share of the line's thickness beside its ink: benchmarks/word_boxes.py.
_INK_MARGIN = 0.07


class BoxOrigin(str, Enum):
    """What the boxes of a line's words follow from.

    columns: the edges of its characters, which come from the columns of the recogniser. interpolated: the display
    columns of its characters (wide 2, narrow 1, combining 0), which share the length of the box. whole_image: nothing,
    because nobody said where in the image the text is; each word has the whole image as its box.
    """

    COLUMNS = "columns"
    INTERPOLATED = "interpolated"
    WHOLE_IMAGE = "whole_image"


class LineBoxes:
    """Finds the boxes of words in the lines of one image.

    width, height: size of the image in pixels. margin: as in ``Manifest.box_margin``.
    """

    def __init__(self, lines: Sequence[Line], width: int, height: int, margin: float = 0.0) -> None:
        self._lines = lines
        self._margin = margin
        self._whole = whole_image(width, height)

    def origin(self, line: int) -> BoxOrigin:
        """Returns what the boxes of a line's words follow from."""
        found = self._lines[line]
        if found.edges:
            return BoxOrigin.COLUMNS
        return BoxOrigin.WHOLE_IMAGE if found.box == self._whole else BoxOrigin.INTERPOLATED

    def share(self, line: int, start: float, end: float) -> tuple[float, float] | None:
        """Returns start and end of characters as fractions of the length of the line's box; None if they are unknown.

        start, end: offsets in the text of the line.
        """
        if self.origin(line) is BoxOrigin.WHOLE_IMAGE:
            return None
        found = self._lines[line]
        edges = found.edges or display_edges(found.text)
        first, last = np.interp([start, end], np.arange(len(edges)), edges).tolist()
        # Engines read characters from left to right. Other text is in the order in which people read it.
        return (1 - last, 1 - first) if not found.edges and runs_left(found.text) else (first, last)

    def word(self, line: int, start: float, end: float) -> Box:
        """Returns the box of the characters from ``start`` to ``end``, offsets in the text of a line."""
        share = self.share(line, start, end)
        if share is None:
            return self._whole
        if self.origin(line) is BoxOrigin.COLUMNS:
            return _inside_margin(self._lines[line].box, *share, self._margin)
        return cut_box(self._lines[line].box, *share)


def runs_left(text: str) -> bool:
    """Returns True if a text runs from right to left: its first letter is Hebrew, Arabic or of a similar script."""
    directions = map(unicodedata.bidirectional, text)
    return next((direction for direction in directions if direction in ("L", "R", "AL")), "L") != "L"


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


def _inside_margin(line: Box, start: float, end: float, margin: float) -> Box:
    """Returns the box of a word without the detector's margin. start, end: as in ``cut_box``."""
    across, down = box_size(line)
    length, thickness = (down, across) if runs_down(line) else (across, down)
    beside = _INK_MARGIN * thickness / length if length else 0.0
    return cut_box(line, max(0.0, start - beside), min(1.0, end + beside), margin, 1 - margin)


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
