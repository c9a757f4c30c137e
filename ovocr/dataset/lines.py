"""A recognised line of text and its box."""

import math
from dataclasses import dataclass

# x1, y1 .. x4, y4: the corners, clockwise from the top left, in pixels of the stored image.
Box = tuple[float, ...]

# PaddleOCR and RapidOCR read a box this much taller than wide from top to bottom (get_rotate_crop_image).
VERTICAL_ASPECT = 1.5
BOX_DECIMALS = 2
SCORE_DECIMALS = 4
EDGE_DECIMALS = 4


@dataclass(frozen=True)
class Line:
    """A line of text.

    score: 0 to 1, 4 decimals. box: corners in pixels of the stored image, 2 decimals.
    edges: the start of each character of the text and the end of the last one, in ascending order, as fractions of the
        box's length in reading direction, 4 decimals; empty if the positions of the characters are unknown.
    """

    text: str
    score: float
    box: Box
    edges: tuple[float, ...] = ()


def whole_image(width: int, height: int) -> Box:
    """Returns the box of a whole image. width, height: its size in pixels."""
    return (0.0, 0.0, float(width), 0.0, float(width), float(height), 0.0, float(height))


def runs_down(box: Box) -> bool:
    """Returns True if the text runs from top to bottom, False if it runs from left to right."""
    across, down = box_size(box)
    return int(down) >= VERTICAL_ASPECT * int(across)


def box_size(box: Box) -> tuple[float, float]:
    """Returns width and height of a box in pixels, each the longer one of two opposite sides."""
    x1, y1, x2, y2, x3, y3, x4, y4 = box
    across = max(math.hypot(x2 - x1, y2 - y1), math.hypot(x3 - x4, y3 - y4))
    down = max(math.hypot(x4 - x1, y4 - y1), math.hypot(x3 - x2, y3 - y2))
    return across, down
