"""Bands of tags: by text height, and by frequency in the training data."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Lower ends of the bands of text height, in pixels of the encoder's input; the first band has no lower end.
_HEIGHTS = (6, 8, 12, 16, 24, 48)
UNKNOWN = "unknown"
HEIGHT_BANDS = (
    f"<{_HEIGHTS[0]}",
    *(f"{low}-{high}" for low, high in pairwise(_HEIGHTS)),
    f"{_HEIGHTS[-1]}+",
    UNKNOWN,
)
"""Names of the bands of text height. A band has its lower end, but not its upper end."""

# Bands of tags by number of training images: the smallest number, and the name.
_FREQUENCIES = ((0, "never"), (1, "1"), (2, "2-9"), (10, "10-99"), (100, "100-999"), (1000, "1,000+"))
FREQUENCY_BANDS = tuple(name for _, name in _FREQUENCIES)
"""Names of the bands of frequency."""


def height_bands(heights: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the number in HEIGHT_BANDS of each text height, in pixels; NaN is unknown.

    The height -inf, of a word that is shown only in part, is in no band and has the number -1.
    """
    bands = np.where(np.isneginf(heights), -1, np.digitize(heights, _HEIGHTS))
    return np.where(np.isnan(heights), HEIGHT_BANDS.index(UNKNOWN), bands)


def frequency_bands(counts: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Returns each class's number in FREQUENCY_BANDS, [num_classes].

    counts: number of training images by class id; classes beyond its end have 0.
    """
    every = np.zeros(num_classes, np.int64)
    every[: len(counts)] = counts[:num_classes]
    return np.digitize(every, [least for least, _ in _FREQUENCIES]) - 1
