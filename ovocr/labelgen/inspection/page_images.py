"""Loads the images of a page from records or sources and shrinks them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from ovocr.base.errors import OvocrError, StoreError
from ovocr.dataset.access.opening import records_on_disk
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.reasons import QuarantinedError
from ovocr.labelgen.images.source_images import OutOfReachError, SourceImages
from ovocr.labelgen.images.stored_image import store_image
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.recordio import Record, RecordError, RecordReader

# JPEG qualities, tried in order until the size is within the limit. If none is, the image is shrunk further.
QUALITIES = (80, 65, 50)
# Maximum bytes of a JPEG per pixel of a square with the given side: 216 kB for 1200 pixels, so 50 images in Base64
# take less than 15 MB.
BYTES_PER_PIXEL = 0.15
_SHRINK = 0.75


@dataclass(frozen=True)
class PageImage:
    """An image for the page. jpeg: encoded image. width, height: size of the stored image in pixels."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class NoImage:
    """An image that cannot be shown. why: the reason, a sentence for the user."""

    why: str


def shrink(pixels: npt.NDArray[np.uint8], side: int) -> PageImage:
    """Returns a JPEG whose sides and bytes are within the limits.

    pixels: uint8 [height, width, 3], BGR. side: maximum length of a side, in pixels; it also limits the bytes.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    most = BYTES_PER_PIXEL * side**2
    while True:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        for quality in QUALITIES:
            encoded, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not encoded:
                raise OvocrError("an image for the page cannot be encoded as JPEG")
            if len(data) <= most:
                return PageImage(data.tobytes(), width, height)
        scale *= _SHRINK


class ShardImages:
    """The images of one shard, which must be requested in ascending order. A context manager.

    files: the data set with the tables of the shard on a disk. record_ids: ids of the records that are requested.
    side: longest side of an image on the page, in pixels.
    """

    def __init__(
        self, data_set: InspectedDataSet, files: LabelledDataSet, number: int, record_ids: Sequence[int], side: int
    ) -> None:
        self._data_set, self._files = data_set, files
        self._number, self._record_ids = number, record_ids
        self._side = side
        self._open = ExitStack()

    def __enter__(self) -> "ShardImages":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def record(self, id: int) -> Record:
        """Returns a record. Raises RecordError if it is missing or damaged, or StoreError."""
        files, records = self._records
        with files.errors():
            return records.by_id(id)

    @cached_property
    def _records(self) -> tuple[LabelledDataSet, RecordReader]:
        try:
            files = self._open.enter_context(records_on_disk(self._files, self._number, self._record_ids))
        except StoreError:
            raise
        except OvocrError as error:
            raise RecordError(str(error)) from error
        with files.errors():
            return files, self._open.enter_context(RecordReader(files.rec_prefix(self._number)))

    @cached_property
    def _sources(self) -> SourceImages:
        return SourceImages.of_shard(self._files, self._number)

    def of_record(self, record: Record) -> PageImage | NoImage:
        """Returns the stored image of a record; NoImage if it is damaged."""
        try:
            return shrink(store_image(record.image, self._data_set.manifest.max_pixels).pixels, self._side)
        except QuarantinedError as error:
            return NoImage(f"The stored image cannot be shown: {error}")

    def of_source(self, position: int, key: str, size: tuple[int, int] | None) -> PageImage | NoImage:
        """Returns an image that has no record from its source; NoImage if the source does not contain it.

        position: position among the images of the source. size: width and height in the table of texts, if known.
        """
        try:
            sources = self._sources
            image = sources.get_any_size(position, key) if size is None else sources.get(position, key, *size)
        except OutOfReachError as error:
            return NoImage(f"No image was stored, and the source does not provide it: {error}")
        return shrink(image.pixels, self._side)
