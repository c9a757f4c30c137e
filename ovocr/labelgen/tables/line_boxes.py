"""Conversion of table cells to the boxes of lines."""

import numpy as np
import numpy.typing as npt

from ovocr.labelgen.tables.cell_errors import WrongCellError, show
from ovocr.labelgen.tables.cells import Column
from ovocr.labelgen.tables.number_lists import NumberLists, read_number_lists

_ALLOWED = "must have 8 numbers (x1, y1 ... x4, y4), 4 points, or 4 numbers (left, top, right, bottom)"
# The corners of left, top, right, bottom, clockwise from the top left.
_CORNERS = [0, 1, 2, 1, 2, 3, 0, 3]
# The numbers of a box with its corners in the opposite order.
_REVERSED = [0, 1, 6, 7, 4, 5, 2, 3]


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
    counter_clockwise = (_area(boxes) < 0) & ~_turns_both_ways(boxes)
    stored[counter_clockwise] = stored[counter_clockwise][:, _REVERSED]
    return stored


def _area(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the areas, [boxes]; negative if the corners run counter-clockwise (y points down)."""
    x, y = boxes[:, 0::2], boxes[:, 1::2]
    area: npt.NDArray[np.float64] = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1) / 2
    return area


def _turns_both_ways(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Returns True for boxes with two turns to each side, [boxes]: their corners cross."""
    corners = boxes.reshape(-1, 4, 2)
    sides = np.roll(corners, -1, axis=1) - corners
    after = np.roll(sides, -1, axis=1)
    turns = sides[..., 0] * after[..., 1] - sides[..., 1] * after[..., 0]
    both: npt.NDArray[np.bool_] = ((turns > 0).sum(axis=1) == 2) & ((turns < 0).sum(axis=1) == 2)
    return both


def _raise_at(cells: NumberLists, wrong: npt.NDArray[np.bool_], message: str) -> None:
    """Raises WrongCellError for the first cell that is wrong. wrong: bool [cells]."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        start, count = int(cells.starts[row]), int(cells.counts[row])
        raise WrongCellError(row, f"{show(cells.values[start : start + count].tolist())} {message}")
