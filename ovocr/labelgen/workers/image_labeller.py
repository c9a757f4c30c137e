"""Reads images with an OCR engine and gives them tags, in a worker process."""

from collections.abc import Iterable, Iterator

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.engines.batching import read_lines
from ovocr.labelgen.engines.interface import Engine, EngineError, Pixels
from ovocr.labelgen.images.stored_image import StoredImage
from ovocr.labelgen.workers.stored_image_labeller import StoredImageLabeller

# Images that are read together are in memory together. A larger image is read alone.
MAX_PIXELS_AT_ONCE = 2**25

# Key of an image, and its stored form, or its outcome if it cannot be stored.
_Stored = tuple[str, StoredImage | Outcome]


class ImageLabeller:
    """Turns a batch of (key, encoded image) into outcomes. The other arguments are as for StoredImageLabeller."""

    def __init__(self, engine: Engine, data_set: LabelledDataSet, policy: TagPolicy, max_pixels: int) -> None:
        self._engine = engine
        self._labeller = StoredImageLabeller(data_set, policy, max_pixels)

    def __call__(self, images: list[tuple[str, bytes]]) -> list[Outcome]:
        """Returns the outcome of each image, which does not depend on the other images. Raises OvocrError."""
        stored = ((key, self._labeller.store(data)) for key, data in images)
        return [outcome for group in _group_by_memory(stored) for outcome in self._label_group(group)]

    def _label_group(self, group: list[_Stored]) -> list[Outcome]:
        """Returns the outcomes of images that are read together."""
        pixels = [stored.pixels for _, stored in group if isinstance(stored, StoredImage)]
        lines = iter(self._read(pixels))
        return [
            stored if isinstance(stored, Outcome) else self._label(key, stored, next(lines)) for key, stored in group
        ]

    def _read(self, images: list[Pixels]) -> list[list[Line] | EngineError]:
        try:
            return [*read_lines(self._engine, images)]
        except EngineError as error:
            if len(images) == 1:
                return [error]
        # One image made the engine fail: read each alone.
        return [lines for image in images for lines in self._read([image])]

    def _label(self, key: str, image: StoredImage, lines: list[Line] | EngineError) -> Outcome:
        if isinstance(lines, EngineError):
            return quarantined(Reason.ENGINE_ERROR, str(lines))
        return self._labeller.label(key, image, lines)


def _group_by_memory(images: Iterable[_Stored]) -> Iterator[list[_Stored]]:
    """Yields the images in order, in groups of at most MAX_PIXELS_AT_ONCE pixels or one image."""
    group: list[_Stored] = []
    pixels = 0
    for key, stored in images:
        size = stored.width * stored.height if isinstance(stored, StoredImage) else 0
        if pixels and pixels + size > MAX_PIXELS_AT_ONCE:
            yield group
            group, pixels = [], 0
        group.append((key, stored))
        pixels += size
    yield group
