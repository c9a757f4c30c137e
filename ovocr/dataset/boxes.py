"""Boxes of lines and words: four corners in pixels of the stored image."""

import math

# x1, y1 .. x4, y4: the corners, clockwise from the top left, in pixels of the stored image.
Box = tuple[float, ...]

# PaddleOCR and RapidOCR read a box this much taller than wide from top to bottom (get_rotate_crop_image).
VERTICAL_ASPECT = 1.5
DECIMALS = 2


def runs_down(box: Box) -> bool:
    """Returns True if the text runs from top to bottom, False if it runs from left to right."""
    x1, y1, x2, y2, x3, y3, x4, y4 = box
    across = max(math.hypot(x2 - x1, y2 - y1), math.hypot(x3 - x4, y3 - y4))
    down = max(math.hypot(x4 - x1, y4 - y1), math.hypot(x3 - x2, y3 - y2))
    return int(down) >= VERTICAL_ASPECT * int(across)
