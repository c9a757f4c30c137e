"""Pictures that a labelled data set did not store, had again from its sources."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from ovocr.base.errors import OvocrError
from ovocr.dataset.reasons import QuarantinedError
from ovocr.labelgen.images.stored_image import StoredImage, store_image
from ovocr.labelgen.sources import Found, Ignored, InputShard, Lost, read_shard


class OutOfReachError(Exception):
    """The picture cannot be had; the message says why, for a person."""


class SourceImages:
    """The pictures of one shard of the input, asked for in the order of their places.

    An archive is read from front to back, not before the first picture is asked for and not behind the last one; of a
    folder only the files that are asked for are read.
    """

    def __init__(self, shard: InputShard, max_pixels: int) -> None:
        # Each picture is compared, so the file may be another one that holds the same.
        self._shard = replace(shard, size=None)
        self._max_pixels = max_pixels
        self._items: Iterator[Found | Lost] | None = None
        self._place = -1  # of the last item that was read

    def get(self, place: int, key: str, width: int, height: int) -> StoredImage:
        """The stored form of the image at ``place`` among the source's images, which had this key and size in pixels.

        Raises OutOfReachError where the source is not there, or has another image now.
        """
        picture = self.get_any_size(place, key)
        if (picture.width, picture.height) != (width, height):
            raise OutOfReachError(f"{picture.width}x{picture.height} pixels, {width}x{height} when it was read")
        return picture

    def get_any_size(self, place: int, key: str) -> StoredImage:
        """The same of an image whose size is not known: it was never read."""
        try:
            item = self._read_file(key) if self._shard.kind == "folder" else self._read_up_to(place)
        except (OvocrError, OSError) as error:
            raise OutOfReachError(str(error)) from error
        if item is None or item.key != key:
            raise OutOfReachError(f"{self._shard.source}: has another image in its place")
        if isinstance(item, Lost):
            raise OutOfReachError(f"{item.reason.value}: {item.detail}")
        try:
            return store_image(item.data, self._max_pixels)
        except QuarantinedError as error:
            raise OutOfReachError(str(error)) from error

    def _read_up_to(self, place: int) -> Found | Lost | None:
        if self._items is None:
            self._items = (item for item in read_shard(self._shard) if not isinstance(item, Ignored))
        item = None
        while self._place < place:
            item = next(self._items, None)
            self._place += 1
        return item

    def _read_file(self, key: str) -> Found | Lost | None:
        """A key comes from a file that others may have made: it must not lead out of the folder."""
        path = PurePosixPath(key)
        if path.is_absolute() or ".." in path.parts or "\0" in key:
            return None
        item = next(iter(read_shard(replace(self._shard, names=(key,)))))
        return None if isinstance(item, Ignored) else item
