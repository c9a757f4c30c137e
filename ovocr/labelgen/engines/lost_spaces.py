"""Spaces that a recogniser saw and did not write.

A CTC recogniser gives, for each column of a crop, a probability to every character and to "no new character". Between
two words that stand close, or far apart in a table, "no new character" often wins by a little over the space, and
``2018 12:30`` is read as ``201812:30``. A column where the space is still likely is where a word ends.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

BLANK = 0  # "no new character", as PaddleOCR's and RapidOCR's recognisers number it
# Set so that words of printed text come back; below 0.02 letters of one word are torn apart.
MIN_PROBABILITY = 0.1


class LostSpaces:
    """Puts the lost spaces back into a recogniser's output. characters: of the network in order, the last is the space.

    Both PaddleX's and RapidOCR's decoders know these as ``character``.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        self._count = len(characters)
        self._unspaced = np.array([_is_written_without_spaces(text) for text in characters])

    def restore(self, predictions: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """The likeliest character of each column, spaces put back, and the probability of what was likeliest before.

        predictions: [crops, columns, characters], softmax over the last. Both results: [crops, columns]. Raises
        ValueError where the network has another number of characters.
        """
        if predictions.shape[2] != self._count:
            raise ValueError(f"the network knows {predictions.shape[2]} characters, its list has {self._count}")
        best = predictions.argmax(axis=2)
        probabilities = np.take_along_axis(predictions, best[..., None], axis=2)[..., 0]
        space = self._count - 1
        for crop_best, crop_predictions in zip(best, predictions, strict=True):
            restore_spaces(crop_best, crop_predictions[:, space], space, self._unspaced)
        return best, probabilities


class SpacingDecoder:
    """RapidOCR's CTC decoder, given the lost spaces. decoder: a CTCLabelDecode."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._spaces = LostSpaces(decoder.character)

    def __call__(
        self, predictions: npt.NDArray[np.float32], return_word_box: bool = False, **ratios: Any
    ) -> tuple[list[tuple[str, float]], list[Any]]:
        """Text and score of each crop of a batch. predictions: as LostSpaces wants them."""
        best, probabilities = self._spaces.restore(predictions)
        found: tuple[list[tuple[str, float]], list[Any]] = self._decoder.decode(
            best, probabilities, return_word_box, remove_duplicate=True, **ratios
        )
        return found


def restore_spaces(
    best: npt.NDArray[np.intp],
    space_probability: npt.NDArray[np.float32],
    space: int,
    unspaced: npt.NDArray[np.bool_],
) -> None:
    """Write the space where it was lost into ``best``, the likeliest character of each column.

    space_probability: [columns]. space: the space's number. unspaced: [characters], those of scripts that are written
    without spaces; between two of them nothing is changed. Only columns without a character of their own are.
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
    """Of East and South-East Asia's scripts: Thai to Myanmar, Khmer, and all from kana and Han on but Hangul."""
    code = ord(text) if len(text) == 1 else 0
    return 0x0E00 <= code < 0x10A0 or 0x1780 <= code < 0x1800 or (0x2E80 <= code < 0xAC00) or 0xF900 <= code < 0xFB00
