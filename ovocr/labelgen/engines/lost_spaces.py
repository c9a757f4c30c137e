"""Restores spaces that a recogniser finds likely but does not output, and finds the positions of characters.

For each column of a crop, a CTC recogniser gives a probability to every character and to the blank ("no new
character"). Between words that are close together, or far apart in a table, the blank is often slightly more likely
than the space, and ``2018 12:30`` becomes ``201812:30``. A word ends at a blank column where the space is still likely.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

BLANK = 0  # the blank's number in PaddleOCR's and RapidOCR's recognisers
# Chosen to separate words of printed text. Below 0.02, letters of one word are separated.
MIN_PROBABILITY = 0.1
# A character is read this much after its center, in columns. Measured on scanned forms: benchmarks/word_boxes.py.
READING_LAG = 0.25


class LostSpaces:
    """Restores lost spaces in a recogniser's output.

    characters: the network's characters in order; the last is the space. In PaddleX's and RapidOCR's decoders this is
    the attribute ``character``.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        self._count = len(characters)
        self._lengths = np.array([len(text) for text in characters])
        self._unspaced = np.array([_is_written_without_spaces(text) for text in characters])

    def restore(self, predictions: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Returns the character of each column with spaces restored, and the probability of the likeliest character.

        predictions: [crops, columns, characters], softmax over the last axis. Both results: [crops, columns].

        Raises ValueError if the network has a different number of characters.
        """
        if predictions.shape[2] != self._count:
            raise ValueError(f"the network has {predictions.shape[2]} characters, its list has {self._count}")
        best = predictions.argmax(axis=2)
        probabilities = np.take_along_axis(predictions, best[..., None], axis=2)[..., 0]
        space = self._count - 1
        for crop_best, crop_predictions in zip(best, predictions, strict=True):
            restore_spaces(crop_best, crop_predictions[:, space], space, self._unspaced)
        return best, probabilities

    def positions(self, best: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Returns the center of each character of a crop's text: float64 [len(text)], fractions of the input's width.

        best: [columns], the character of each column.
        """
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        ends = np.append(starts[1:], len(best)) - 1
        written = best[starts] != BLANK
        middles = (starts[written] + ends[written]) / 2
        centers = (middles + 0.5 - READING_LAG) / len(best)
        return np.repeat(centers, self._lengths[best[starts[written]]])


class SpacingDecoder:
    """RapidOCR's CTC decoder with lost spaces restored. decoder: a CTCLabelDecode."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._spaces = LostSpaces(decoder.character)

    def __call__(
        self, predictions: npt.NDArray[np.float32], return_word_box: bool = False, **ratios: Any
    ) -> tuple[list[tuple[str, float]], list[npt.NDArray[np.float64]]]:
        """Returns text and score of each crop of a batch, and the positions of its characters.

        RapidOCR passes the second list on without reading it. predictions: as in ``LostSpaces.restore``.
        """
        best, probabilities = self._spaces.restore(predictions)
        lines, _ = self._decoder.decode(best, probabilities, remove_duplicate=True)
        return lines, [self._spaces.positions(crop_best) for crop_best in best]


def restore_spaces(
    best: npt.NDArray[np.intp],
    space_probability: npt.NDArray[np.float32],
    space: int,
    unspaced: npt.NDArray[np.bool_],
) -> None:
    """Writes lost spaces into ``best``, the likeliest character of each column. Changes blank columns only.

    space_probability: [columns]. space: the space's number. unspaced: [characters], True for scripts written without
    spaces; no space is restored between two such characters.
    """
    (written,) = np.nonzero(best != BLANK)
    for left, right in pairwise(written):
        characters = best[left], best[right]
        if right == left + 1 or space in characters or all(unspaced[list(characters)]):
            continue
        between = space_probability[left + 1 : right]
        if between.max() >= MIN_PROBABILITY:
            best[left + 1 + between.argmax()] = space


def _is_written_without_spaces(text: str) -> bool:
    """Returns True for scripts without spaces: Thai to Myanmar, Khmer, and kana, Han and above except Hangul."""
    code = ord(text) if len(text) == 1 else 0
    return 0x0E00 <= code < 0x10A0 or 0x1780 <= code < 0x1800 or (0x2E80 <= code < 0xAC00) or 0xF900 <= code < 0xFB00
