"""Stores images with known class ids, in a worker process."""

from ovocr.dataset.outcome import Outcome, Place, Status, quarantined
from ovocr.dataset.reasons import QuarantinedError
from ovocr.labelgen.images.stored_image import store_image
from ovocr.labelgen.tagging.tag_slots import fill_slots


class ImagePacker:
    """Turns a batch of (distinct class ids, encoded image) into outcomes.

    tags: slots per image. max_pixels: larger images are quarantined.
    """

    def __init__(self, tags: int, max_pixels: int) -> None:
        self._tags = tags
        self._max_pixels = max_pixels

    def __call__(self, images: list[tuple[list[int], bytes]]) -> list[Outcome]:
        """Returns the outcome of each image, given at least one class id and its encoded bytes."""
        return [self._pack(ids, data) for ids, data in images]

    def _pack(self, ids: list[int], data: bytes) -> Outcome:
        try:
            image = store_image(data, self._max_pixels)
        except QuarantinedError as error:
            return quarantined(error.reason, error.detail)
        return Outcome(
            status=Status.OK,
            jpeg=image.jpeg,
            width=image.width,
            height=image.height,
            places=[Place(id) for id in ids],
            slots=fill_slots(ids, self._tags),
        )
