"""Finds the edges of characters in the crop of a line.

A CTC recogniser gives the column in which it read each character, which is near the middle of the character. Two
characters meet halfway between their columns. At spaces, at punctuation and at the ends of the line, the edges are
moved to the ink of the crop, between the columns of the two characters.
"""

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ovocr.dataset.lines import EDGE_DECIMALS
from ovocr.labelgen.engines.interface import Batching, Pixels

# Share of the crop's height that is left out above and below: the detector's margin, and ink of other lines.
_MARGIN = 1 / 8
# The first and the last character extend at most this far from their centers, as a share of the crop's height.
_REACH = 0.6


def centers_in_crop(
    positions: npt.NDArray[np.float64], crop: Pixels, width: int, batching: Batching
) -> tuple[float, ...]:
    """Returns the centers of characters as fractions of the crop's width.

    positions: [characters], fractions of the width of the recogniser's input. width: that width in pixels, padding
    included. batching: the batching of the engine.
    """
    return tuple(np.clip(positions * width / min(width, batching.text_width(crop)), 0, 1).tolist())


def character_edges(text: str, centers: tuple[float, ...], crop: Pixels) -> tuple[float, ...]:
    """Returns the start of each character and the end of the last one, as fractions of the crop's width, ascending.

    Returns no edges if there is not one center for each character. centers: ascending, from 0 to 1.
    """
    if len(centers) != len(text) or not text:
        return ()
    ink = _ink_columns(crop)
    width = len(ink)
    middles = np.array(centers) * width
    edges = np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [float(width)]])
    edges[0], edges[-1] = _text_ends(ink, middles[0], middles[-1], _REACH * crop.shape[0])
    _move_to_gaps(edges, text, middles, ink)
    return tuple(np.round(np.maximum.accumulate(np.clip(edges / width, 0, 1)), EDGE_DECIMALS).tolist())


def _ink_columns(crop: Pixels) -> npt.NDArray[np.bool_]:
    """Returns True for each column of the crop with ink: bool [width]. Ink is the rarer of dark and light pixels."""
    import cv2  # the plan of an engine imports this module, and reports that the extra `ocr` is not installed

    gray = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    _, light = cv2.threshold(gray, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    margin = int(_MARGIN * crop.shape[0])
    is_ink = light == (1 if 2 * cv2.countNonZero(light) <= light.size else 0)
    return np.asarray(is_ink[margin : crop.shape[0] - margin].any(axis=0))


def _text_ends(ink: npt.NDArray[np.bool_], first: float, last: float, reach: float) -> tuple[int, int]:
    """Returns start and end of the ink around the centers of the first and the last character, in columns.

    reach: ink further from a center does not belong to its character.
    """
    left, right = max(0, int(first - reach)), min(len(ink), math.ceil(last + reach))
    before = np.flatnonzero(ink[left : int(first) + 1])
    after = np.flatnonzero(ink[int(last) : right])
    start = left + before[0] if len(before) else int(first)
    end = int(last) + 1 + after[-1] if len(after) else int(last) + 1
    return int(start), int(end)


def _move_to_gaps(
    edges: npt.NDArray[np.float64], text: str, middles: npt.NDArray[np.float64], ink: npt.NDArray[np.bool_]
) -> None:
    """Moves the edges at spaces and punctuation to the widest gap between the two characters around them."""
    written = [number for number, character in enumerate(text) if not character.isspace()]
    for left, right in pairwise(written):
        spaces = right - left - 1
        if not spaces and text[left].isalnum() == text[right].isalnum():
            continue
        found = _widest_gap(ink, int(middles[left]), int(np.ceil(middles[right])))
        if found is None:
            continue
        start, end = found if spaces else 2 * (sum(found) / 2,)
        edges[left + 1 : right + 1] = np.linspace(start, end, spaces + 1)


def _widest_gap(ink: npt.NDArray[np.bool_], start: int, end: int) -> tuple[int, int] | None:
    """Returns start and end of the longest run of columns without ink in [start, end); None if all have ink."""
    changes = np.flatnonzero(np.diff(np.concatenate([[True], ink[start:end], [True]])))
    if not len(changes):
        return None
    starts, ends = changes[0::2], changes[1::2]
    longest = int((ends - starts).argmax())
    return start + int(starts[longest]), start + int(ends[longest])
