"""Counts the tags of a data set that are legible when whole images are shown at a size, by the height of their text.

The text height of a tag is the short side of its line's box, across the reading direction, in pixels of the input. The
longer side of the image is scaled to the size of the input, up or down. Of several places, the largest height counts.

A line that is the whole image was given without a box. If it is the only line, the image is a cut-out word or line, and
has its height. If there are several such lines, their heights are unknown.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.dataset.labelled_images import text_mismatch
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import BOX_DECIMALS, VERTICAL_ASPECT
from ovocr.dataset.outcome import Status
from ovocr.dataset.records import named
from ovocr.dataset.schemas import OCR, RECORDS
from ovocr.dataset.tables import TableError, read_batches
from ovocr.dataset.text import TextShard

# Sides of the input and least heights of legible text, in pixels.
IMAGE_SIZES = (224, 336, 448, 672, 896)
TEXT_HEIGHTS = (8, 10, 12)
# Medians are exact to half of this share of the input's side, 0.045 pixels at 896.
_STEP = 1e-4
_UNKNOWN = -1.0
_RECORD_COLUMNS = ("key", "status", "tags.list.element.id", "tags.list.element.line")
_TEXT_COLUMNS = ("key", "width", "height", "lines.list.element.box", "lines.list.element.edges")

_Integers = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SizeLegibility:
    """The tags at one size of the input.

    image_size: side of the input in pixels. median_height: median text height in pixels; None if no height is known.
    legible: maps each of TEXT_HEIGHTS to the number of tags whose text is at least that high.
    shares: the same as shares of the tags of known height; 0 if there are none.
    """

    image_size: int
    median_height: float | None
    legible: dict[int, int]
    shares: dict[int, float]

    def to_json(self) -> dict[str, Any]:
        """Returns the values for JSON, whose keys are strings."""
        return {
            "image_size": self.image_size,
            "median_text_height": self.median_height,
            "legible": {str(height): tags for height, tags in self.legible.items()},
            "legible_share": {str(height): share for height, share in self.shares.items()},
        }


@dataclass(frozen=True, kw_only=True)
class Legibility:
    """Counts of tags over the ok images of shards. Counts of several shards are added.

    images: number of ok images. tags: number of their tags, distinct in each image.
    tags_of_unknown_height: tags without a place whose text height is known. They are not in the following counts.
    legible: maps an image size and a text height to the number of tags whose text is at least that high.
    heights: maps text heights, in units of 1/10,000 of the image's longer side, to numbers of tags.
    """

    images: int = 0
    tags: int = 0
    tags_of_unknown_height: int = 0
    legible: Counter[tuple[int, int]] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: "Legibility") -> "Legibility":
        sums: dict[str, Any] = {name: value + vars(other)[name] for name, value in vars(self).items()}
        return Legibility(**sums)

    @property
    def known(self) -> int:
        """Number of tags whose text height is known."""
        return self.tags - self.tags_of_unknown_height

    @property
    def by_size(self) -> list[SizeLegibility]:
        """The figures at each of IMAGE_SIZES."""
        median = self._median()
        return [
            SizeLegibility(
                image_size=size,
                median_height=None if median is None else round(median * size, 2),
                legible={height: self.legible[size, height] for height in TEXT_HEIGHTS},
                shares={height: self.legible[size, height] / max(1, self.known) for height in TEXT_HEIGHTS},
            )
            for size in IMAGE_SIZES
        ]

    def _median(self) -> float | None:
        """Returns the median text height as a share of the image's longer side."""
        if not self.known:
            return None
        heights = np.array(sorted(self.heights))
        ends = np.cumsum([self.heights[height] for height in heights.tolist()])
        middle = np.searchsorted(ends, [(self.known - 1) // 2, self.known // 2], side="right")
        return float(heights[middle].mean()) * _STEP

    def to_json(self) -> dict[str, Any]:
        """Returns the values for JSON."""
        return {
            "images": self.images,
            "tags": self.tags,
            "tags_of_unknown_height": self.tags_of_unknown_height,
            "by_size": [row.to_json() for row in self.by_size],
        }

    def format(self) -> list[str]:
        """Returns the lines of a table for a terminal; no lines if there are no tags."""
        if not self.tags:
            return []
        if not self.known:
            return [f"{counted(self.tags, 'tag')} of unknown text height, given without boxes"]
        title = f"{counted(self.known, 'tag')} by text height in the whole image"
        lines = [_format_line(title, "median", (f"{height}+ px" for height in TEXT_HEIGHTS))]
        for row in self.by_size:
            shares = (f"{share:.1%}" for share in row.shares.values())
            lines.append(_format_line(f"  scaled to {row.image_size} px", f"{row.median_height:.1f} px", shares))
        if self.tags_of_unknown_height:
            lines.append(f"{counted(self.tags_of_unknown_height, 'tag')} of unknown text height, given without boxes")
        return lines


def _format_line(label: str, first: str, others: Iterable[str]) -> str:
    return f"{label:<44}{first:>10}{''.join(f'{each:>8}' for each in others)}"


class _Lines(NamedTuple):
    """The lines of N images, concatenated.

    sides: float64 [N], the longer side of each image in pixels. counts: int64 [N], the number of its lines.
    heights: float64 [L], text heights in pixels of the stored images; _UNKNOWN if unknown.
    """

    sides: _Floats
    counts: _Integers
    heights: _Floats


class _Places(NamedTuple):
    """P places of tags. images: int64 [P], indices of their images. ids: int32 [P], class ids.

    lines: int64 [P], indices of their lines among the lines of all images.
    """

    images: _Integers
    ids: npt.NDArray[np.int32]
    lines: _Integers


def measure_legibility(shard: TextShard) -> Legibility:
    """Counts the tags of a finished shard of a labelled data set; keeps a few images in memory.

    Raises OvocrError, naming the file, if a table of the shard cannot be read or does not match the other one.
    """
    data_set = LabelledDataSet(shard.root)
    path = data_set.records_path(shard.number)
    texts = _Rows(read_batches(shard.path, OCR, _TEXT_COLUMNS))
    total, start = Legibility(), 0
    for records in read_batches(path, RECORDS, _RECORD_COLUMNS):
        was_read = pc.not_equal(records.column("status"), Status.QUARANTINED.value)
        if was_read.true_count:
            rows = texts.take(was_read.true_count)
            if rows is None or not rows.column("key").equals(records.column("key").filter(was_read)):
                raise text_mismatch(data_set, shard.number)
            lines = _read_lines(shard.path, rows)
            total += _count(_find_places(path, start, records, lines), lines)
            total += Legibility(images=pc.equal(records.column("status"), Status.OK.value).true_count)
        start += records.num_rows
    if texts.take(1) is not None:
        raise text_mismatch(data_set, shard.number)
    return total


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
    return _Lines(np.maximum(widths, heights), counts, np.where(is_unknown, _UNKNOWN, text_heights(boxes)))


def _find_places(path: Path, start: int, records: pa.RecordBatch, lines: _Lines) -> _Places:
    """Returns the places of tags in the ok images of a batch of records.

    path: table of the records. start: position of the first row. lines: lines of the images that were read.
    Raises OvocrError if a place is in a line that its image does not have.
    """
    status = records.column("status")
    was_read = pc.not_equal(status, Status.QUARANTINED.value).to_numpy(zero_copy_only=False)
    tags = records.column("tags")
    rows = pc.list_parent_indices(tags).to_numpy()
    ids, own_lines = (pc.list_flatten(tags).field(name).to_numpy() for name in ("id", "line"))
    in_ok = pc.equal(status, Status.OK.value).to_numpy(zero_copy_only=False)[rows]
    rows, ids, own_lines = rows[in_ok], ids[in_ok], own_lines[in_ok]
    images = (np.cumsum(was_read) - 1)[rows]
    is_wrong = (own_lines < 0) | (own_lines >= lines.counts[images])
    if is_wrong.any():
        first = int(np.argmax(is_wrong))
        name = named(start + int(rows[first]), records.column("key")[int(rows[first])].as_py())
        line = f"line {own_lines[first]} of {lines.counts[images[first]]}"
        raise OvocrError(f"{path}: row {name} is invalid: a tag in {line}; restore the file")
    return _Places(images, ids, (np.cumsum(lines.counts) - lines.counts)[images] + own_lines)


def _count(places: _Places, lines: _Lines) -> Legibility:
    """Counts the tags at the places; the images are not counted."""
    heights = lines.heights[places.lines]
    # Places of the same tag follow each other, the largest one is the last.
    order = np.lexsort((heights, places.ids, places.images))
    is_last = np.ones(len(order), bool)
    is_last[:-1] = (np.diff(places.images[order]) != 0) | (np.diff(places.ids[order]) != 0)
    tags = int(is_last.sum())
    largest = order[is_last]
    largest = largest[heights[largest] != _UNKNOWN]
    heights, sides = heights[largest], lines.sides[places.images[largest]]
    steps, numbers = np.unique(np.rint(heights / sides / _STEP).astype(np.int64), return_counts=True)
    return Legibility(
        tags=tags,
        tags_of_unknown_height=tags - len(largest),
        legible=Counter(
            {
                (size, least): int((heights * size / sides >= least).sum())
                for size in IMAGE_SIZES
                for least in TEXT_HEIGHTS
            }
        ),
        heights=Counter(dict(zip(steps.tolist(), numbers.tolist(), strict=True))),
    )
