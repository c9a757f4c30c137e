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
from ovocr.labelgen.engines.interface import Pixels

# Share of the crop's height that is left out above and below: the detector's margin, and ink of other lines.
_MARGIN = 1 / 8
# The text of a line ends at a gap without ink that is wider than this share of the crop's height.
_END_GAP = 0.35


def centers_in_crop(
    positions: npt.NDArray[np.float64], crop: Pixels, width: int, crop_height: int
) -> tuple[float, ...]:
    """Returns the centers of characters as fractions of the crop's width.

    positions: [characters], fractions of the width of the recogniser's input. width: that width in pixels, padding
    included. crop_height: its height in pixels, to which the crop is scaled.
    """
    text_width = min(width, math.ceil(crop_height * crop.shape[1] / crop.shape[0]))
    return tuple(np.clip(positions * width / text_width, 0, 1).tolist())


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
    edges[0], edges[-1] = _text_ends(ink, middles[0], middles[-1], round(_END_GAP * crop.shape[0]))
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


def _text_ends(ink: npt.NDArray[np.bool_], first: float, last: float, gap: int) -> tuple[float, float]:
    """Returns start and end of the ink around the first and the last character's center, in columns.

    Ink beyond ``gap`` columns without ink is not text.
    """
    before, after = ink[: int(first) + 1][::-1], ink[min(int(last), len(ink) - 1) :]
    return int(first) + 1 - _reach(before, gap), min(int(last), len(ink) - 1) + _reach(after, gap)


def _reach(ink: npt.NDArray[np.bool_], gap: int) -> int:
    """Returns the number of columns up to the last column with ink before a gap wider than ``gap``; at least 1."""
    found = np.flatnonzero(ink)
    if not len(found) or found[0] > gap:
        return 1
    wide = np.flatnonzero(np.diff(found) > gap + 1)
    return int(found[wide[0]] if len(wide) else found[-1]) + 1


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
    """Returns start and end of the longest run of columns without ink from ``start`` to ``end``, or None."""
    changes = np.flatnonzero(np.diff(np.concatenate([[True], ink[start:end], [True]])))
    if not len(changes):
        return None
    starts, ends = changes[0::2], changes[1::2]
    longest = int((ends - starts).argmax())
    return start + int(starts[longest]), start + int(ends[longest])
