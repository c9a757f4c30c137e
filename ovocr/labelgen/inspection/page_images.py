"""The pictures of a page: from the record, else from the source, made small enough for a page of many."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from ovocr.base.errors import OvocrError
from ovocr.dataset.reasons import QuarantinedError
from ovocr.labelgen.images.source_images import OutOfReachError, SourceImages
from ovocr.labelgen.images.stored_image import store_image
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.shards.labelled_shard import find_input
from ovocr.recordio import Record, RecordReader

# The first that fits is taken; noise fits with none of them, and is made smaller as well.
QUALITIES = (80, 65, 50)
# Bytes of a JPEG for each pixel of the square that it fits in: 216 kB at a side of 1200, so that 50 of them in Base64
# stay below 15 MB.
BYTES_A_PIXEL = 0.15
_SHRINK = 0.75


@dataclass(frozen=True)
class PageImage:
    """jpeg: what the page shows, of any size. width, height: pixels of the stored picture that it was made from."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class NoImage:
    """There is none to show; why, for a person."""

    why: str


def shrink(pixels: npt.NDArray[np.uint8], side: int) -> PageImage:
    """pixels: blue-green-red [height, width, 3]. side: the longest side at most, which also bounds the bytes."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    most = BYTES_A_PIXEL * side**2
    while True:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        for quality in QUALITIES:
            encoded, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not encoded:
                raise OvocrError("a picture for the page cannot be encoded as JPEG")
            if len(data) <= most:
                return PageImage(data.tobytes(), width, height)
        scale *= _SHRINK


class ShardImages:
    """The pictures of one shard, asked for in the order of their places. side: of the page's pictures, pixels."""

    def __init__(self, data_set: InspectedDataSet, number: int, side: int) -> None:
        self._data_set = data_set
        self._number = number
        self._side = side

    def __enter__(self) -> "ShardImages":
        return self

    def __exit__(self, *_: object) -> None:
        if "_records" in vars(self):
            self._records.close()

    def record(self, id: int) -> Record:
        """Raises RecordError where the shard has no such record, or it is damaged."""
        return self._records.by_id(id)

    @cached_property
    def _records(self) -> RecordReader:
        return RecordReader(self._data_set.files.rec_prefix(self._number))

    @cached_property
    def _sources(self) -> SourceImages:
        source = find_input(self._data_set.files, self._data_set.manifest, self._number)
        return SourceImages(source, self._data_set.max_pixels)

    def of_record(self, record: Record) -> PageImage | NoImage:
        """The stored picture; a damaged one costs itself alone."""
        try:
            return shrink(store_image(record.image, self._data_set.max_pixels).pixels, self._side)
        except QuarantinedError as error:
            return NoImage(f"The stored picture cannot be shown: {error}")

    def of_source(self, place: int, key: str, size: tuple[int, int] | None) -> PageImage | NoImage:
        """The picture of an image without a record. size: width and height that it had when it was read, if it was."""
        try:
            sources = self._sources
            picture = sources.get_any_size(place, key) if size is None else sources.get(place, key, *size)
        except OutOfReachError as error:
            return NoImage(f"No picture was stored, and the source does not give it: {error}")
        return shrink(picture.pixels, self._side)
