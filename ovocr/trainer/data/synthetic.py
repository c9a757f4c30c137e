"""Random samples with the shape of a head's data, for trying out a configuration without its data."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.config.heads import HeadConfig, VideoHeadConfig
from ovocr.trainer.data.samples import NothingFetched, Sample, ShownTags

_SAMPLES = 1_000_000


class SyntheticSamples(NothingFetched):
    """Random pixels and class ids, reproducible by sample number; image_size: the head's default."""

    def __init__(self, head: HeadConfig, *, num_classes: int, image_size: int) -> None:
        self._head, self._num_classes, self._size = head, num_classes, head.image_size or image_size
        self.parts = [_SAMPLES]
        self.vocabulary_path: Path | None = None

    def __len__(self) -> int:
        return _SAMPLES

    def load(self, index: int, position: int | None = None) -> Sample:
        """Returns random pixels of the right shape and as many class ids as the head uses per record."""
        random = np.random.default_rng(index)
        labels = random.integers(0, self._num_classes, self._head.labels_stored, np.int64)
        if not isinstance(self._head, VideoHeadConfig):
            return Sample(random.integers(0, 256, (3, self._size, self._size), np.uint8), labels)
        frames = self._head.frames
        pixels = random.integers(0, 256, (3, frames, self._size, self._size), np.uint8)
        return Sample(pixels, labels, np.arange(frames, dtype=np.int64) * (self._head.sampled_frames // frames))

    def shown_tags(self, index: int, position: int | None = None) -> ShownTags:
        """Returns the distinct class ids, whose text heights are unknown."""
        return ShownTags.of_labels(self.load(index, position).labels)

    def name(self, index: int) -> str:
        """Returns the sample's number; synthetic samples have no source."""
        return f"synthetic sample {index}"

    def image_keys(self) -> list[str]:
        """Returns no keys, because synthetic samples have no source."""
        return []

    def image_hashes(self, rank: int = 0, world: int = 1) -> Iterator[NDArray[np.uint64]]:
        """Yields no hashes, because synthetic samples are no images."""
        return iter(())

    def class_counts(self, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """Returns no counts, because the classes are random."""
        return np.zeros(0, np.int64)
