"""The interface of a head's training data: numbered samples of pixels and labels."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Sample(NamedTuple):
    """One image, or one clip of F frames.

    pixels: uint8 [3, S, S] or [3, F, S, S], letterboxed RGB.
    labels: int64 [T], the stored class ids that the head uses.
    times: int64 [F], each frame's position on the backbone's time axis; None for an image.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    times: NDArray[np.int64] | None = None


class Samples(Protocol):
    """Numbered samples; picklable, and usable on both sides of a fork."""

    parts: list[int]
    """Number of samples of each data set, in order."""

    vocabulary_path: Path | None
    """Vocabulary of the class ids; None if they are not words."""

    def __len__(self) -> int:
        """Returns the number of samples."""

    def load(self, index: int, position: int | None = None) -> Sample:
        """Decodes a sample. Raises OvocrError naming it.

        position: the sample's position in the run, which seeds its random draws; None disables them.
        """

    def name(self, index: int) -> str:
        """Returns the sample's origin, for messages."""

    def class_counts(self) -> NDArray[np.int64]:
        """Returns the number of samples with each class, from id 0 to the largest one stored."""
