"""What becomes of an image: the work of a worker process."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

from ovocr.dataset.lines import Line
from ovocr.dataset.outcome import Outcome, Status, quarantined
from ovocr.dataset.reasons import QuarantinedError, Reason
from ovocr.labelgen.engines.batching import read_lines
from ovocr.labelgen.engines.interface import EngineError, Pixels
from ovocr.labelgen.images.stored_image import StoredImage, store_image
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.labelgen.workers.factories import LabellerSettings
from ovocr.vocab import load_segmenter

# Pictures that are read together are held in memory together; one larger than this is read alone.
MAX_PIXELS_AT_ONCE = 2**25

# Key of an image, and its picture, or what became of it without one.
_Stored = tuple[str, StoredImage | Outcome]


class ImageLabeller:
    """Turns a batch of (key, encoded image) into Outcomes; holds an engine and a vocabulary. Raises OvocrError."""

    def __init__(self, settings: LabellerSettings, worker: int = 0) -> None:
        self._settings = settings
        self._engine = settings.engine.load(worker)
        # Not the first image's time: it has a deadline.
        load_segmenter().load()

    @cached_property
    def _label_lines(self) -> LineLabeller:
        # Not before the first image: while workers start, the vocabulary may still be made.
        return LineLabeller.load(self._settings.data_set, self._settings.policy)

    def __call__(self, images: list[tuple[str, bytes]]) -> list[Outcome]:
        """The outcome of each image, given its key and encoded bytes; it does not depend on the others."""
        stored = (self._store(key, data) for key, data in images)
        return [outcome for group in _within_memory(stored) for outcome in self._label_group(group)]

    def _store(self, key: str, data: bytes) -> _Stored:
        try:
            return key, store_image(data, self._settings.max_pixels)
        except QuarantinedError as error:
            return key, quarantined(error.reason, error.detail)

    def _label_group(self, group: list[_Stored]) -> list[Outcome]:
        """The outcomes of pictures that are read together."""
        pictures = [stored for _, stored in group if isinstance(stored, StoredImage)]
        readings = iter(self._read([picture.pixels for picture in pictures]))
        return [
            stored if isinstance(stored, Outcome) else self._label(key, stored, next(readings)) for key, stored in group
        ]

    def _read(self, pictures: list[Pixels]) -> list[list[Line] | EngineError]:
        try:
            return [*read_lines(self._engine, pictures)]
        except EngineError as error:
            if len(pictures) == 1:
                return [error]
        # One of them is to blame.
        return [reading for picture in pictures for reading in self._read([picture])]

    def _label(self, key: str, picture: StoredImage, lines: list[Line] | EngineError) -> Outcome:
        if isinstance(lines, EngineError):
            return quarantined(Reason.ENGINE_ERROR, str(lines))
        outcome = self._label_lines(key, picture.width, picture.height, lines)
        return replace(outcome, jpeg=picture.jpeg) if outcome.status is Status.OK else outcome


def _within_memory(images: Iterable[_Stored]) -> Iterator[list[_Stored]]:
    """The images in order, in groups of at most MAX_PIXELS_AT_ONCE pixels or one picture."""
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
