"""The images in the rows of a table."""

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import as_text
from ovocr.base.object_store import is_url
from ovocr.dataset.manifest import SourceOptions
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.image_tables.columns import Head, TableColumns, flat
from ovocr.labelgen.sources.items import MAX_FILE_BYTES, Found, Ignored, Lost, SourceItem, too_large
from ovocr.labelgen.sources.local_path import read_image


def check_root(columns: TableColumns, head: Head, options: SourceOptions, source: str) -> None:
    """Raises UsageError if the folder of images has none of the table's first paths."""
    if options.image_root is None or (values := head(columns.image)) is None:
        return
    values = flat(values)
    if pa.types.is_struct(values.type):
        if values.type.get_field_index("path") < 0 or not (columns.paths or _all_null(values, "bytes")):
            return
        values = values.field("path")
    paths = [path for path in values.to_pylist() if path is not None]
    rows = RowReader(columns, options.image_root)
    if paths and all(rows.is_missing(path) for path in paths):
        raise UsageError(
            f"--image-root {options.image_root}: has none of the first paths of {source}, such as {paths[0]!r}"
        )


def _all_null(values: pa.StructArray, name: str) -> bool:
    return bool(values.field(name).null_count == len(values))


class RowReader:
    """Reads the images of a table's rows. image_root: folder of the images that a table has only the paths of.

    Raises OvocrError if there is no such folder.
    """

    def __init__(self, columns: TableColumns, image_root: str | None) -> None:
        self._columns = columns
        self._root = None if image_root is None else os.path.realpath(image_root)
        if self._root is not None and not os.path.isdir(self._root):
            raise OvocrError(f"--image-root {image_root}: no such folder")

    def read(self, batch: pa.RecordBatch, row: int) -> Iterator[SourceItem]:
        """Yields the images of the batch in order. row: number of its first row in the table.

        A row without a key has its number as key. A list of images has the keys KEY/0, KEY/1 ...; its nulls, and null
        or empty lists, are ignored. In a column of single images, a null is an image of zero bytes.

        Raises ArrowException or UnicodeDecodeError if the data is damaged.
        """
        keys = self._keys(batch)
        for number, (key, cell) in enumerate(zip(keys, batch[self._columns.image], strict=True), start=row):
            text = str(number) if key is None else str(key)
            if self._columns.many:
                yield from self._read_list(text, cell)
            else:
                yield self._read_cell(text, cell)

    def _keys(self, batch: pa.RecordBatch) -> list[Any]:
        columns = self._columns
        if columns.key is None:
            return [None] * len(batch)
        keys = batch[columns.key]
        if columns.key_field is None:
            return list(keys.to_pylist())
        # Unlike field(), this is null wherever the struct is null.
        fields = dict(zip([field.name for field in keys.type], keys.flatten(), strict=True))
        return list(fields[columns.key_field].to_pylist())

    def _read_list(self, key: str, cell: Any) -> Iterator[SourceItem]:
        elements = cell.values if cell.is_valid else []
        if not len(elements):
            yield Ignored()
        for number, element in enumerate(elements):
            yield self._read_cell(f"{key}/{number}", element) if element.is_valid else Ignored()

    def _read_cell(self, key: str, cell: Any) -> SourceItem:
        if not cell.is_valid:
            return Found(key, b"")
        path: Any = None
        image = cell
        if pa.types.is_struct(cell.type):
            names = [field.name for field in cell.type]
            path = cell["path"] if "path" in names else None
            image = None if self._columns.paths else cell["bytes"]
        elif self._columns.paths:
            path, image = cell, None
        if image is not None and image.is_valid:
            data = image.as_buffer()
            return too_large(key, len(data)) if len(data) > MAX_FILE_BYTES else Found(key, data.to_pybytes())
        if path is None or not path.is_valid:
            return Found(key, b"")
        try:
            return self._read_path(key, path.as_py())
        except UnicodeDecodeError:
            return Lost(key, Reason.UNREADABLE, "its path is not UTF-8")

    def is_missing(self, path: str) -> bool:
        """Returns True if the path of a table cannot be read."""
        return isinstance(self._read_path("", path), Lost)

    def _read_path(self, key: str, path: str) -> SourceItem:
        """Returns the image at a path of the table, which strangers may have written."""
        shown = as_text(path)
        if is_url(path):
            return Lost(key, Reason.UNREADABLE, f"{shown}: a URL; fetch the images first: docs/obelics.md")
        if self._root is None:
            return Lost(key, Reason.EMPTY, f"has no bytes, only the path {shown}; name its folder with --image-root")
        try:
            real = os.path.realpath(os.path.join(self._root, path))
            inside = os.path.commonpath([self._root, real]) == self._root
        except (OSError, ValueError) as error:  # a loop of links, a zero byte
            return Lost(key, Reason.UNREADABLE, f"{shown}: {error}")
        if not inside:
            return Lost(key, Reason.UNREADABLE, f"{shown}: leads out of --image-root; it is not read")
        item = read_image(real, key)
        return Lost(key, item.reason, f"{shown}: {item.detail}") if isinstance(item, Lost) else item
