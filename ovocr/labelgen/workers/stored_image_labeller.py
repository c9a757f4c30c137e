"""Stores images and labels their lines, in a worker process, wherever the lines come from."""

from dataclasses import replace
from functools import cached_property

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome, Status, quarantined
from ovocr.dataset.reasons import QuarantinedError
from ovocr.labelgen.images.stored_image import StoredImage, store_image
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.vocab import load_segmenter


class StoredImageLabeller:
    """Turns encoded images into stored ones, and stored ones with lines into outcomes.

    data_set: has the vocabulary and word frequencies before the first image. max_pixels: larger images are quarantined.
    """

    def __init__(self, data_set: LabelledDataSet, policy: TagPolicy, max_pixels: int) -> None:
        self._data_set = data_set
        self._policy = policy
        self._max_pixels = max_pixels
        load_segmenter().load()  # now, because the first image has a deadline

    @cached_property
    def _label_lines(self) -> LineLabeller:
        # Loaded for the first image: the vocabulary may still be written while workers start.
        return LineLabeller.load(self._data_set, self._policy)

    def store(self, data: bytes) -> StoredImage | Outcome:
        """Returns the stored form of an encoded image, or its outcome if it cannot be stored."""
        try:
            return store_image(data, self._max_pixels)
        except QuarantinedError as error:
            return quarantined(error.reason, error.detail)

    def label(self, key: str, image: StoredImage, lines: list[Line], *, lines_given: bool = True) -> Outcome:
        """Returns the outcome of a stored image with these lines. Raises OvocrError.

        lines_given: as in LineLabeller.
        """
        outcome = self._label_lines(key, image.width, image.height, lines, lines_given=lines_given)
        return replace(outcome, jpeg=image.jpeg) if outcome.status is Status.OK else outcome
