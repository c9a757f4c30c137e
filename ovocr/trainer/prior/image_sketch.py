"""A sketch of a set of images: their smallest hashes, which tell how many of other images are in the set."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovocr.base.plural import counted

SKETCH_SIZE = 200_000
"""Hashes that a sketch keeps, 8 bytes each."""

_LARGEST = 2**64 - 1


@dataclass(frozen=True)
class Overlap:
    """How many of some images are in a sketched set.

    images: number of the images. compared: number of those whose hash the sketch covers. found: number of these that
    are in the set.
    """

    images: int
    compared: int
    found: int

    @property
    def is_exact(self) -> bool:
        """Whether every image was compared, so that the number is not an estimate."""
        return self.compared == self.images

    @property
    def share(self) -> float | None:
        """The share of the images in the set; None if none was compared."""
        return self.found / self.compared if self.compared else None

    @property
    def number(self) -> int | None:
        """The number of images in the set, an estimate unless ``is_exact``; None if none was compared."""
        return round(self.found / self.compared * self.images) if self.compared else None

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(self.images + other.images, self.compared + other.compared, self.found + other.found)

    def describe(self) -> str:
        """Returns "312 of 2,000 images"; an estimate says from how many images."""
        number = f"{self.number or 0:,} of {counted(self.images, 'image')}"
        return number if self.is_exact else f"about {number} (estimated from {self.compared:,})"

    def to_json(self) -> dict[str, Any]:
        """Returns the number and the share, null if they are unknown, and the number of compared images."""
        return {"images": self.number, "share": self.share, "compared": self.compared}


@dataclass(frozen=True)
class ImageSketch:
    """The hashes of a set of images up to ``last``: all of a small set, the SKETCH_SIZE smallest of a large one.

    hashes: uint64 [n], ascending, distinct.
    """

    hashes: NDArray[np.uint64]
    last: int = _LARGEST

    @classmethod
    def of(cls, hashes: NDArray[np.uint64], last: int = _LARGEST, size: int = SKETCH_SIZE) -> "ImageSketch":
        """Returns the sketch of images with these hashes. last: the largest hash up to which they are complete."""
        distinct = np.unique(hashes)
        distinct = distinct[distinct <= np.uint64(last)]
        if len(distinct) <= size:
            return cls(distinct, last)
        return cls(distinct[:size], int(distinct[size - 1]))

    @classmethod
    def of_parts(cls, parts: Iterable[NDArray[np.uint64]], size: int = SKETCH_SIZE) -> "ImageSketch":
        """Returns the sketch of all images whose hashes are in the parts; keeps two sketches and a part in memory."""
        sketch, waiting, count = cls(np.empty(0, np.uint64)), [np.empty(0, np.uint64)], 0
        for part in parts:
            waiting.append(part[part <= np.uint64(sketch.last)])
            count += len(waiting[-1])
            if count > size:
                sketch = cls.of(np.concatenate([sketch.hashes, *waiting]), sketch.last, size)
                waiting, count = [], 0
        return cls.of(np.concatenate([sketch.hashes, *waiting]), sketch.last, size)

    def overlap(self, hashes: NDArray[np.uint64]) -> Overlap:
        """Returns how many of the images with these hashes are in the set."""
        covered = hashes[hashes <= np.uint64(self.last)]
        return Overlap(len(hashes), len(covered), int(np.isin(covered, self.hashes).sum()))
