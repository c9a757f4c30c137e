"""The interface of a head's training data: numbered samples of pixels and labels."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.store_records import NOTHING_FETCHED, Fetched


class NoLegibleTagError(OvocrError):
    """The image has no tag that is large enough to be a positive."""


def hash_image(*identity: str | int) -> int:
    """Returns the 64-bit hash of what identifies an image."""
    return int.from_bytes(blake2b("\0".join(map(str, identity)).encode(), digest_size=8).digest(), "big")


class Sample(NamedTuple):
    """One image, or one clip of F frames.

    pixels: uint8 [3, S, S] or [3, F, S, S], letterboxed RGB.
    labels: int64 [T], the stored class ids that the head uses.
    times: int64 [F], each frame's position on the backbone's time axis; None for an image.
    ignored: int64 [n], distinct class ids that are neither positives nor negatives; None if no tags are ignored.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    times: NDArray[np.int64] | None = None
    ignored: NDArray[np.int64] | None = None


class ShownTags(NamedTuple):
    """The tags that a sample shows. ids: int64 [n], distinct class ids, ascending.

    heights: float32 [n], the largest text height of each tag in pixels of the input; NaN if unknown.
    is_whole: whether the sample shows the whole image, or is a clip, instead of a crop.
    cut: int64 [m], distinct class ids of the words that a crop shows only in part, none of which is in ids.
    """

    ids: NDArray[np.int64]
    heights: NDArray[np.float32]
    is_whole: bool = True
    cut: NDArray[np.int64] = np.empty(0, np.int64)

    @classmethod
    def of_labels(cls, labels: NDArray[np.int64], is_whole: bool = True) -> "ShownTags":
        """Returns distinct labels, whose text heights are unknown."""
        ids = np.unique(labels)
        return cls(ids, np.full(len(ids), np.nan, np.float32), is_whole)


class NothingFetched:
    """The part of ``Samples`` about reading ahead, for samples of which nothing is read or fetched in advance."""

    def prefetch(self, indices: Iterable[int]) -> None:
        """Does nothing."""

    def read_ahead(self, indices: NDArray[np.int64]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""

    @property
    def fetched(self) -> Fetched:
        """Nothing."""
        return NOTHING_FETCHED


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

        position: the sample's position in the run, which seeds its random draws. None shows the whole image, or the
            middle frames of a video, with all tags.
        """

    def shown_tags(self, index: int, position: int | None = None) -> ShownTags:
        """Returns all tags that the sample of ``load`` shows. Raises OvocrError naming it."""

    def prefetch(self, indices: Iterable[int]) -> None:
        """Starts to read these samples, and returns at once. Errors are left to ``load``."""

    def read_ahead(self, indices: NDArray[np.int64]) -> None:
        """Starts to fetch samples that are loaded later, if they are in an object store, and returns at once."""

    def close(self) -> None:
        """Ends fetching ahead. The samples can still be loaded."""

    @property
    def fetched(self) -> Fetched:
        """What this process has fetched from object stores."""

    def name(self, index: int) -> str:
        """Returns the sample's origin, for messages."""

    def image_keys(self) -> list[str]:
        """Returns the key of each sample's image inside its source; the path of a video as its list has it.

        Raises OvocrError.
        """

    def image_hashes(self, rank: int = 0, world: int = 1) -> Iterator[NDArray[np.uint64]]:
        """Yields a hash of each image or video that its copies in other data sets share, uint64; a shard at a time.

        rank, world: the share of one of ``world`` ranks; a single rank has all, in order. Raises OvocrError.
        """

    def class_counts(self, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """Returns the number of samples with each class, from id 0 to the largest one stored.

        rank, world: counts the share of one of ``world`` ranks; the shares together are all samples.
        """
