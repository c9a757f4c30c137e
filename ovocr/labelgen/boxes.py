"""Where a word stands in the picture: a part of its line's box."""

import math

# x1, y1 ... x4, y4: the corners from the top left clockwise, in pixels of the stored picture.
Box = tuple[float, ...]

# PaddleOCR and RapidOCR read a box this much taller than wide from top to bottom (get_rotate_crop_image).
VERTICAL_ASPECT = 1.5
DECIMALS = 2


def runs_down(box: Box) -> bool:
    """Does the line's text run from top to bottom instead of from left to right?"""
    x1, y1, x2, y2, x3, y3, x4, y4 = box
    across = max(math.hypot(x2 - x1, y2 - y1), math.hypot(x3 - x4, y3 - y4))
    down = max(math.hypot(x4 - x1, y4 - y1), math.hypot(x3 - x2, y3 - y2))
    return int(down) >= VERTICAL_ASPECT * int(across)


def word_box(line: Box, start: float, end: float) -> Box:
    """The part of a line's box from ``start`` to ``end``, fractions of its length along the reading direction."""
    x1, y1, x2, y2, x3, y3, x4, y4 = line
    if runs_down(line):
        left_start, left_end = _between(x1, y1, x4, y4, start), _between(x1, y1, x4, y4, end)
        right_start, right_end = _between(x2, y2, x3, y3, start), _between(x2, y2, x3, y3, end)
        corners = (*left_start, *right_start, *right_end, *left_end)
    else:
        top_start, top_end = _between(x1, y1, x2, y2, start), _between(x1, y1, x2, y2, end)
        bottom_start, bottom_end = _between(x4, y4, x3, y3, start), _between(x4, y4, x3, y3, end)
        corners = (*top_start, *top_end, *bottom_end, *bottom_start)
    return tuple(round(value, DECIMALS) for value in corners)


def _between(x1: float, y1: float, x2: float, y2: float, fraction: float) -> tuple[float, float]:
    return x1 + (x2 - x1) * fraction, y1 + (y2 - y1) * fraction
