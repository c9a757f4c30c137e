"""Reads the places of a shard's tags with the height of their text, from its records and its lines.

The text height of a place is the short side of its line's box, across the reading direction. A line that is the whole
image was given without a box. If it is the only line, the image is a cut-out word or line, and has its height. If there
are several such lines, their heights are unknown.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError
from ovocr.dataset.labelled_images import text_mismatch
from ovocr.dataset.lines import BOX_DECIMALS, VERTICAL_ASPECT
from ovocr.dataset.outcome import Status
from ovocr.dataset.records import named
from ovocr.dataset.schemas import OCR, RECORDS
from ovocr.dataset.tables import TableError, read_batches
from ovocr.dataset.text import TextShard

UNKNOWN_HEIGHT = -1.0
_RECORD_COLUMNS = ("key", "status", "record_id", "tags")
_TEXT_COLUMNS = ("key", "width", "height", "lines.list.element.box", "lines.list.element.edges")

_Integers = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


class PlaceBatch(NamedTuple):
    """The P places of the tags of N ok images, which have records. Places of an image are in reading order.

    record_ids: int64 [N]. widths, heights: float64 [N], sizes of the stored images in pixels.
    images: int64 [P], index of each place's image, ascending. ids: int32 [P], class ids.
    boxes: float32 [P, 8], boxes of the words. text_heights: float64 [P]. All in pixels of the stored image; an unknown
    text height is UNKNOWN_HEIGHT.
    """

    record_ids: _Integers
    widths: _Floats
    heights: _Floats
    images: _Integers
    ids: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.float32]
    text_heights: _Floats


class _Lines(NamedTuple):
    """The lines of images, concatenated. counts: int64 [N], lines of each image. heights: float64 [L], text heights."""

    widths: _Floats
    heights_of_images: _Floats
    counts: _Integers
    heights: _Floats


def read_place_batches(shard: TextShard) -> Iterator[PlaceBatch]:
    """Yields the places of a finished shard's records in order, a few images at a time.

    Raises OvocrError, naming the file, if a table of the shard cannot be read or does not match the other one.
    """
    data_set = shard.data_set
    path = data_set.records_path(shard.number)
    texts = _Rows(read_batches(shard.path, OCR, _TEXT_COLUMNS))
    start = 0
    for records in read_batches(path, RECORDS, _RECORD_COLUMNS):
        was_read = pc.not_equal(records.column("status"), Status.QUARANTINED.value)
        if was_read.true_count:
            rows = texts.take(was_read.true_count)
            if rows is None or not rows.column("key").equals(records.column("key").filter(was_read)):
                raise text_mismatch(data_set, shard.number)
            yield _places(path, start, records, _read_lines(shard.path, rows))
        start += records.num_rows
    if texts.take(1) is not None:
        raise text_mismatch(data_set, shard.number)


def text_heights(boxes: _Floats) -> _Floats:
    """Returns the short sides of lines' boxes, across the reading direction, in pixels: float64 [L].

    boxes: float64 [L, 8]. Sides and direction are those of ``box_size`` and ``runs_down``.
    """
    corners = boxes.reshape(-1, 4, 2)
    x, y = np.moveaxis(np.roll(corners, -1, axis=1) - corners, 2, 0)
    top, right, bottom, left = np.hypot(x, y).T
    across, down = np.maximum(top, bottom), np.maximum(right, left)
    return np.where(np.trunc(down) >= VERTICAL_ASPECT * np.trunc(across), across, down)


class _Rows:
    """Takes rows out of batches in portions of any size."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._waiting: list[pa.RecordBatch] = []

    def take(self, count: int) -> pa.RecordBatch | None:
        """Returns the next ``count`` rows, at least 1; None if there are fewer."""
        while sum(batch.num_rows for batch in self._waiting) < count:
            batch = next(self._batches, None)
            if batch is None:
                return None
            self._waiting.append(batch)
        (rows,) = pa.Table.from_batches(self._waiting).combine_chunks().to_batches()
        self._waiting = [rows.slice(count)]
        return rows.slice(0, count)


def _read_lines(path: Path, rows: pa.RecordBatch) -> _Lines:
    """Returns the lines of images. path: the table, for messages. Raises TableError if a size or a box is invalid."""
    widths, heights = (rows.column(name).to_numpy().astype(np.float64) for name in ("width", "height"))
    lines = rows.column("lines")
    counts = lines.value_lengths().to_numpy().astype(np.int64)
    flat = lines.flatten()
    # Corners had fewer decimals than float32 stores.
    boxes = np.round(flat.field("box").flatten().to_numpy().astype(np.float64), BOX_DECIMALS).reshape(-1, 8)
    if not (widths > 0).all() or not (heights > 0).all():
        raise TableError(path, "an image has a width or a height of 0")
    if not np.isfinite(boxes).all():
        raise TableError(path, "the box of a line is not finite")
    zeros = np.zeros(len(widths))
    images = np.stack([zeros, zeros, widths, zeros, widths, heights, zeros, heights], axis=1)
    is_whole = (boxes == np.repeat(images, counts, axis=0)).all(axis=1)
    is_whole &= flat.field("edges").value_lengths().to_numpy() == 0
    is_unknown = is_whole & (np.repeat(counts, counts) > 1)
    return _Lines(widths, heights, counts, np.where(is_unknown, UNKNOWN_HEIGHT, text_heights(boxes)))


def _places(path: Path, start: int, records: pa.RecordBatch, lines: _Lines) -> PlaceBatch:
    """Returns the places of tags in the ok images of a batch of records.

    path: table of the records. start: position of the first row. lines: lines of the images that were read.
    Raises OvocrError if a place is in a line that its image does not have, or if its box is not finite.
    """
    status = records.column("status")
    was_read = pc.not_equal(status, Status.QUARANTINED.value).to_numpy(zero_copy_only=False)
    is_ok = pc.equal(status, Status.OK.value).to_numpy(zero_copy_only=False)
    read_images = np.cumsum(was_read) - 1  # of each row, its index among the images that were read
    tags = records.column("tags")
    flat = pc.list_flatten(tags)
    rows = pc.list_parent_indices(tags).to_numpy()
    in_ok = is_ok[rows]
    rows, ids, own_lines = (
        values[in_ok] for values in (rows, flat.field("id").to_numpy(), flat.field("line").to_numpy())
    )
    boxes = flat.field("box").flatten().to_numpy().reshape(-1, 8)[in_ok]
    if not np.isfinite(boxes).all():
        raise TableError(path, "the box of a tag is not finite")
    counts = lines.counts[read_images[rows]]
    is_wrong = (own_lines < 0) | (own_lines >= counts)
    if is_wrong.any():
        first = int(np.argmax(is_wrong))
        name = named(start + int(rows[first]), records.column("key")[int(rows[first])].as_py())
        line = f"line {own_lines[first]} of {counts[first]}"
        raise OvocrError(f"{path}: row {name} is invalid: a tag in {line}; restore the file")
    starts = np.cumsum(lines.counts) - lines.counts
    ok_images = read_images[is_ok]
    return PlaceBatch(
        record_ids=pc.fill_null(records.column("record_id"), -1).to_numpy()[is_ok],
        widths=lines.widths[ok_images],
        heights=lines.heights_of_images[ok_images],
        images=(np.cumsum(is_ok) - 1)[rows],
        ids=ids,
        boxes=boxes,
        text_heights=lines.heights[starts[read_images[rows]] + own_lines],
    )
