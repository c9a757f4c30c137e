"""Picklable factories: each is sent to a worker process, where it makes the function that handles batches of images.

Imports nothing heavy: the parent, which only reads and writes files, needs no image decoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome
from ovocr.labelgen.engines.interface import EnginePlan

if TYPE_CHECKING:
    from ovocr.labelgen.workers.given_text_labeller import GivenImage


@dataclass(frozen=True, kw_only=True)
class LabellerFactory:
    """Makes an ImageLabeller.

    data_set: has the vocabulary and word frequencies before the first image. max_pixels: as in BuildOptions.
    """

    engine: EnginePlan
    data_set: LabelledDataSet
    policy: TagPolicy
    max_pixels: int

    def __call__(self, worker: int) -> Callable[[list[tuple[str, bytes]]], list[Outcome]]:
        """Loads the engine and the segmenter. worker: number of the worker. Raises OvocrError."""
        from ovocr.labelgen.workers.image_labeller import ImageLabeller

        return ImageLabeller(self.engine.load(worker), self.data_set, self.policy, self.max_pixels)


@dataclass(frozen=True, kw_only=True)
class GivenTextFactory:
    """Makes a GivenTextLabeller. The fields are as in LabellerFactory."""

    data_set: LabelledDataSet
    policy: TagPolicy
    max_pixels: int

    def __call__(self, worker: int) -> Callable[[list["GivenImage"]], list[Outcome]]:
        """Loads the image decoders and the segmenter. worker: number of the worker."""
        from ovocr.labelgen.workers.given_text_labeller import GivenTextLabeller

        return GivenTextLabeller(self.data_set, self.policy, self.max_pixels)


@dataclass(frozen=True, kw_only=True)
class PackerFactory:
    """Makes an ImagePacker. The fields are as in PackOptions."""

    tags: int
    max_pixels: int

    def __call__(self, worker: int) -> Callable[[list[tuple[list[int], bytes]]], list[Outcome]]:
        """Loads the image decoders. worker: number of the worker."""
        from ovocr.labelgen.workers.image_packer import ImagePacker

        return ImagePacker(self.tags, self.max_pixels)
