"""What a head is trained on, whatever it is made from: numbered samples of pixels and labels."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Sample(NamedTuple):
    """One picture, or one clip of F frames.

    pixels: uint8 [3, S, S], or [3, F, S, S], letterboxed RGB.
    labels: int64 [T], the stored class ids that the head uses.
    times: int64 [F], the place of each frame on the backbone's time axis; None for a picture.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    times: NDArray[np.int64] | None = None


class Samples(Protocol):
    """Samples by number, picklable, and usable on both sides of a fork."""

    parts: list[int]
    """Samples of each data set, in their order; their sum is the number of all."""

    vocabulary_path: Path | None
    """Words that the class ids stand for; None where they are mere numbers."""

    def __len__(self) -> int:
        """Number of samples."""

    def load(self, index: int, position: int | None = None) -> Sample:
        """Decode a sample. Raises OvocrError naming it.

        position: its place in the course of a run, which decides what is drawn at random; None: nothing is.
        """

    def name(self, index: int) -> str:
        """Where the sample comes from, for messages."""

    def class_counts(self) -> NDArray[np.int64]:
        """How many samples have each class among their stored ids, from id 0 to the largest that occurs."""
