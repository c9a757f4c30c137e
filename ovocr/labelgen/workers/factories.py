"""What a worker process is told once, before its first image: called, it makes the function that does the work."""

from collections.abc import Callable
from dataclasses import dataclass

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome
from ovocr.labelgen.engines.interface import EnginePlan


@dataclass(frozen=True, kw_only=True)
class LabellerSettings:
    """All that an image's outcome depends on beside its key and bytes; called, it makes the labeller.

    data_set: its vocabulary and word frequencies are used, which need not be there before the first image. max_pixels:
    as in BuildOptions.
    """

    engine: EnginePlan
    data_set: LabelledDataSet
    policy: TagPolicy
    max_pixels: int

    def __call__(self, worker: int) -> Callable[[list[tuple[str, bytes]]], list[Outcome]]:
        """Load engine and segmenter in a worker of this number. Raises OvocrError."""
        # Not before: the process that only reads and writes files needs no picture decoder.
        from ovocr.labelgen.workers.image_labeller import ImageLabeller

        return ImageLabeller(self, worker)


@dataclass(frozen=True, kw_only=True)
class PackerSettings:
    """All that a packed image's outcome depends on beside its bytes and class ids. Fields are those of PackOptions."""

    tags: int
    max_pixels: int

    def __call__(self, worker: int) -> Callable[[list[tuple[list[int], bytes]]], list[Outcome]]:
        """Load the picture decoders in a worker of this number."""
        from ovocr.labelgen.workers.image_packer import ImagePacker

        return ImagePacker(self)
