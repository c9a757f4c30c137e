"""What becomes of an image whose class ids are known: the work of a worker process."""

from ovocr.dataset.outcome import Outcome, Status, Tag, quarantined
from ovocr.dataset.reasons import QuarantinedError
from ovocr.labelgen.images.stored_image import store_image
from ovocr.labelgen.tagging.tag_slots import fill_slots
from ovocr.labelgen.workers.factories import PackerSettings


class ImagePacker:
    """Turns a batch of (distinct class ids, encoded image) into Outcomes."""

    def __init__(self, settings: PackerSettings) -> None:
        self._settings = settings

    def __call__(self, images: list[tuple[list[int], bytes]]) -> list[Outcome]:
        """The outcome of each image, given at least one class id and its encoded bytes."""
        return [self._pack(ids, data) for ids, data in images]

    def _pack(self, ids: list[int], data: bytes) -> Outcome:
        try:
            picture = store_image(data, self._settings.max_pixels)
        except QuarantinedError as error:
            return quarantined(error.reason, error.detail)
        return Outcome(
            status=Status.OK,
            jpeg=picture.jpeg,
            width=picture.width,
            height=picture.height,
            tags=[Tag(id) for id in ids],
            slots=fill_slots(ids, self._settings.tags),
        )
