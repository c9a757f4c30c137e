"""Conversion of table cells to the boxes of lines."""

import numpy as np
import numpy.typing as npt

from ovocr.dataset.lines import Box
from ovocr.labelgen.tables.cell_errors import WrongCellError, show
from ovocr.labelgen.tables.cells import Column
from ovocr.labelgen.tables.number_lists import NumberLists, read_number_lists

_ALLOWED = "must have 8 numbers (x1, y1 ... x4, y4), 4 points, or 4 numbers (left, top, right, bottom)"
# The corners of left, top, right, bottom, clockwise from the top left.
_CORNERS = [0, 1, 2, 1, 2, 3, 0, 3]
# The numbers of a box with its corners in the opposite order.
_REVERSED = [0, 1, 6, 7, 4, 5, 2, 3]

_Point = tuple[float, float]


def read_boxes(column: Column) -> npt.NDArray[np.float32]:
    """Returns the box of each cell, float32 [cells, 8], in pixels; NaN for a cell without a box.

    A cell is a list of 8 numbers, of 4 points or of 4 numbers, text with 8 or 4 numbers, or null.
    Corners that run counter-clockwise are put in the order of a box; the first one stays the first. Boxes without area
    and boxes whose corners cross stay as they are: they are no reason to refuse a table. Raises WrongCellError if a
    cell is something else.
    """
    cells = read_number_lists(column, points=True)
    _raise_at(cells, cells.given & ~np.isin(cells.counts, (4, 8)), f"is not a box; it {_ALLOWED}")
    boxes = np.full((len(cells.given), 8), np.nan)
    for count, places in ((8, list(range(8))), (4, _CORNERS)):
        rows = np.flatnonzero(cells.counts == count)
        boxes[rows] = cells.values[cells.starts[rows][:, None] + places]
    with np.errstate(over="ignore"):
        stored = boxes.astype(np.float32)
    _raise_at(cells, cells.given & ~np.isfinite(stored).all(axis=1), "is not a box; its numbers must be finite pixels")
    left, top, right, bottom = boxes[:, [0, 1, 2, 5]].T
    turned = (cells.counts == 4) & ((right < left) | (bottom < top))
    _raise_at(cells, turned, "is not left, top, right, bottom; it looks like x, y, width, height")
    for row in np.flatnonzero(_area(boxes) < 0):
        if not corners_cross(tuple(boxes[row].tolist())):
            stored[row] = stored[row, _REVERSED]
    return stored


def _area(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the areas, [boxes]; negative if the corners run counter-clockwise (y points down)."""
    x, y = boxes[:, 0::2], boxes[:, 1::2]
    area: npt.NDArray[np.float64] = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1) / 2
    return area


def corners_cross(box: Box) -> bool:
    """Returns True if two opposite sides of a box cross: its corners are not in their order around it."""
    a, b, c, d = zip(box[0::2], box[1::2], strict=True)
    return _cross(a, b, c, d) or _cross(b, c, d, a)


def _cross(a: _Point, b: _Point, c: _Point, d: _Point) -> bool:
    """Returns True if the sides from a to b and from c to d cross, which excludes touching."""
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _turn(a: _Point, b: _Point, c: _Point) -> float:
    """Returns which side of the line from a to b the point c is on: positive, negative, or 0 on the line."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _raise_at(cells: NumberLists, wrong: npt.NDArray[np.bool_], message: str) -> None:
    """Raises WrongCellError for the first cell that is wrong. wrong: bool [cells]."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        start, count = int(cells.starts[row]), int(cells.counts[row])
        raise WrongCellError(row, f"{show(cells.values[start : start + count].tolist())} {message}")
