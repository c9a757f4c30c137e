"""Cuts the box of a word out of its line's box."""

from ovocr.dataset.boxes import DECIMALS, Box, runs_down


def word_box(line: Box, start: float, end: float) -> Box:
    """Returns the part of a line's box from ``start`` to ``end``: fractions of its length in reading direction."""
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
