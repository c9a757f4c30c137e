"""Images that a labelled data set did not store, read again from its sources."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import PurePosixPath

import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.base.escape import as_text
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.reasons import QuarantinedError
from ovocr.dataset.record_columns import read_keys
from ovocr.labelgen.images.stored_image import StoredImage, store_image
from ovocr.labelgen.sources import FOLDERS, LIST, Found, Ignored, InputShard, Lost, listed_names, read_shard
from ovocr.labelgen.sources.input_shard import find_input


class OutOfReachError(Exception):
    """The image cannot be read from its source. The message says why."""


class SourceImages:
    """The images of one input shard, requested in the order of their indexes.

    An archive or a table is read from front to back, from the first requested image to the last one. Of a folder or a
    list, only the requested files are read.

    own: keys of the shard's images if the data set has only a part of the source's images; indexes count only these.
    None if it has all.
    """

    def __init__(self, shard: InputShard, max_pixels: int, own: frozenset[str] | None = None) -> None:
        # The caller compares every image, so a different file with the same images is accepted.
        self._shard = replace(shard, size=None)
        self._max_pixels = max_pixels
        self._own = own
        self._items: Iterator[Found | Lost] | None = None
        self._index = -1  # index of the last item read

    @classmethod
    def of_shard(cls, data_set: LabelledDataSet, number: int) -> "SourceImages":
        """Returns the images of a finished shard. Raises OvocrError if a file of the data set cannot be read."""
        manifest = data_set.manifest()
        own = None
        if manifest.splits:  # images of one key are all in the same part
            own = frozenset(chain.from_iterable(map(pa.Array.to_pylist, read_keys(data_set.records_path(number)))))
        return cls(find_input(data_set, manifest, number), manifest.max_pixels, own)

    def get(self, index: int, key: str, width: int, height: int) -> StoredImage:
        """Returns the stored form of an image of the source. width, height: its size in pixels when it was labelled.

        Raises OutOfReachError if the source is missing or now has a different image.
        """
        image = self.get_any_size(index, key)
        if (image.width, image.height) != (width, height):
            raise OutOfReachError(f"{image.width}x{image.height} pixels, {width}x{height} when it was read")
        return image

    def get_any_size(self, index: int, key: str) -> StoredImage:
        """Returns the stored form of an image of unknown size. Raises OutOfReachError."""
        try:
            item = self._read(index, key)
        except (OvocrError, OSError) as error:
            raise OutOfReachError(str(error)) from error
        if item is None or not self._has_key(item, index, key):
            raise OutOfReachError(f"{self._shard.source}: has another image in its place")
        if isinstance(item, Lost):
            raise OutOfReachError(f"{item.reason.value}: {item.detail}")
        try:
            return store_image(item.data, self._max_pixels)
        except QuarantinedError as error:
            raise OutOfReachError(str(error)) from error

    def _has_key(self, item: Found | Lost, index: int, key: str) -> bool:
        # Older data sets have row numbers as keys where Parquet files have ids or paths. Each row had one image.
        return item.key == key or (self._shard.kind == "parquet" and key == str(index))

    def _read(self, index: int, key: str) -> Found | Lost | None:
        if self._shard.kind in FOLDERS:
            return self._read_file(key)
        if self._shard.kind == LIST:
            # The list says which files may be read: the key comes from a data set that others may have written.
            name = self._listed[index] if index < len(self._listed) else None
            return None if name is None or as_text(name) != key else self._read_named(name)
        return self._read_up_to(index)

    def _is_own(self, key: str) -> bool:
        return self._own is None or key in self._own

    @cached_property
    def _listed(self) -> list[str]:
        return [name for name in listed_names(self._shard) if self._is_own(as_text(name))]

    def _read_up_to(self, index: int) -> Found | Lost | None:
        if self._items is None:
            images = (item for item in read_shard(self._shard) if not isinstance(item, Ignored))
            self._items = (item for item in images if self._is_own(item.key))
        item = None
        while self._index < index:
            item = next(self._items, None)
            self._index += 1
        return item

    def _read_file(self, key: str) -> Found | Lost | None:
        # The key comes from a data set that others may have written: it must not lead out of the folder.
        path = PurePosixPath(key)
        if path.is_absolute() or ".." in path.parts or "\0" in key:
            return None
        return self._read_named(key)

    def _read_named(self, name: str) -> Found | Lost | None:
        item = next(iter(read_shard(replace(self._shard, names=(name,)))))
        return None if isinstance(item, Ignored) else item
