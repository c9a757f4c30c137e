"""Counts the tags of a data set that are legible at a size of the input, by the height of their text.

The text height of a tag is that of its places in pixels of the input; of several places, the largest counts. All images
are counted as if shown whole: the longer side is scaled to the size of the input, up or down. Some images are counted
as crops too (``crop_legibility``).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ovocr.base.plural import counted
from ovocr.dataset.text import TextShard
from ovocr.dataset.text_heights import UNKNOWN_HEIGHT, PlaceBatch, read_place_batches
from ovocr.views.crop_legibility import CropCounts, CropMeter, SizeCrops

# Sides of the input and least heights of legible text, in pixels.
IMAGE_SIZES = (224, 336, 448, 672, 896)
TEXT_HEIGHTS = (8, 10, 12)
# The one of TEXT_HEIGHTS at which tables count tags per image and compare data sets.
COMPARED_HEIGHT = 10
# Medians are exact to half of this share of the input's side, 0.045 pixels at 896.
_STEP = 1e-4


@dataclass(frozen=True, kw_only=True)
class SizeLegibility:
    """The tags at one size of the input, in whole images.

    image_size: side of the input in pixels. median_height: median text height in pixels; None if no height is known.
    legible: maps each of TEXT_HEIGHTS to the number of tags whose text is at least that high.
    shares: the same as shares of the tags of known height; 0 if there are none. per_image: the same per image.
    crops: the tags in crops of the same size.
    """

    image_size: int
    median_height: float | None
    legible: dict[int, int]
    shares: dict[int, float]
    per_image: dict[int, float]
    crops: SizeCrops

    def to_json(self) -> dict[str, Any]:
        """Returns the values for JSON, whose keys are strings."""
        return {
            "image_size": self.image_size,
            "median_text_height": self.median_height,
            "legible": {str(height): tags for height, tags in self.legible.items()},
            "legible_share": {str(height): share for height, share in self.shares.items()},
            "legible_per_image": {str(height): tags for height, tags in self.per_image.items()},
            "text_crops": self.crops.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Legibility:
    """Counts of tags over the ok images of shards. Counts of several shards are added.

    images: number of ok images. tags: number of their tags, distinct in each image.
    tags_of_unknown_height: tags without a place whose text height is known. They are not in the following counts.
    legible: maps an image size and a text height to the number of tags whose text is at least that high.
    heights: maps text heights, in units of 1/10,000 of the image's longer side, to numbers of tags.
    crops: counts of the tags in crops of some of the images.
    """

    images: int = 0
    tags: int = 0
    tags_of_unknown_height: int = 0
    legible: Counter[tuple[int, int]] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    crops: CropCounts = field(default_factory=CropCounts)

    @classmethod
    def sum(cls, parts: "Iterable[Legibility]") -> "Legibility":
        """Returns the sums of counts, of which one is in memory at a time."""
        sums = LegibilitySum()
        for part in parts:
            sums.add(part)
        return sums.total()

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
                per_image={height: self.legible[size, height] / max(1, self.images) for height in TEXT_HEIGHTS},
                crops=self.crops.at(size, TEXT_HEIGHTS),
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
        lines = [_format_head(title, "median", "image")]
        for row in self.by_size:
            lines.append(_format_line(f"  scaled to {row.image_size} px", f"{row.median_height:.1f} px", row))
        if self.crops.has_tags:
            title = f"crops chosen by their text, {counted(self.crops.images, 'image')}"
            lines.append(_format_head(title, "tags/crop", "crop"))
            for row in self.by_size:
                crops = row.crops
                lines.append(_format_line(f"  of {row.image_size} px", f"{crops.shown_per_image:.1f}", crops))
        if self.tags_of_unknown_height:
            lines.append(f"{counted(self.tags_of_unknown_height, 'tag')} of unknown text height, given without boxes")
        return lines


def _format_head(title: str, first: str, unit: str) -> str:
    """Returns the heads of columns. A long title takes space from the first column. unit: what the last one counts."""
    heads = "".join(f"{f'{height}+ px':>8}" for height in TEXT_HEIGHTS)
    return f"{title} {first:>{max(0, 53 - len(title))}}{heads}{f'{COMPARED_HEIGHT}+ px/{unit}':>14}"


def _format_line(label: str, first: str, row: SizeLegibility | SizeCrops) -> str:
    shares = "".join(f"{share:>8.1%}" for share in row.shares.values())
    return f"{label:<44}{first:>10}{shares}{row.per_image[COMPARED_HEIGHT]:>14.1f}"


class LegibilitySum:
    """Adds counts in place: there are thousands of heights, which adding two counts would copy for each shard."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = dict(vars(Legibility()))

    def add(self, part: Legibility) -> None:
        """Adds the counts of a part."""
        for name, value in vars(part).items():
            if isinstance(value, Counter):
                self._sums[name].update(value)
            else:
                self._sums[name] += value

    def total(self) -> Legibility:
        """Returns the sums."""
        return Legibility(**self._sums)


def measure_legibility(shard: TextShard) -> Legibility:
    """Counts the tags of a finished shard of a labelled data set; keeps a few images in memory.

    Raises OvocrError, naming the file, if a table or the statistics of the shard cannot be read, or if the tables do
    not match.
    """
    crops = CropMeter(shard, IMAGE_SIZES, TEXT_HEIGHTS)
    with shard.on_disk("ocr", "records") as stored:
        return Legibility.sum(_count(batch, crops) for batch in read_place_batches(stored))


def _count(places: PlaceBatch, crops: CropMeter) -> Legibility:
    heights = places.text_heights
    # Places of the same tag follow each other, the largest one is the last.
    order = np.lexsort((heights, places.ids, places.images))
    is_last = np.ones(len(order), bool)
    is_last[:-1] = (np.diff(places.images[order]) != 0) | (np.diff(places.ids[order]) != 0)
    tags = int(is_last.sum())
    largest = order[is_last]
    largest = largest[heights[largest] != UNKNOWN_HEIGHT]
    sides = np.maximum(places.widths, places.heights)[places.images[largest]]
    heights = heights[largest]
    steps, numbers = np.unique(np.rint(heights / sides / _STEP).astype(np.int64), return_counts=True)
    return Legibility(
        images=len(places.record_ids),
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
        crops=crops.count(places),
    )
