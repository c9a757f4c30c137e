"""Counts the tags that crops chosen by their text show, by the height of their text, on some images of each shard."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovocr.dataset.text import TextShard
from ovocr.dataset.text_heights import PlaceBatch
from ovocr.views.text_crops import MAX_UPSCALE, RECOMMENDED_HEIGHTS, RangeSchedule, TextCrops
from ovocr.views.view import MIN_VISIBLE, ImagePlaces, shown_in, whole_pixels, whole_view

# An image takes about 1.2 ms at five sizes of the input. Counting the tags of 10,000 whole images takes 400 ms.
IMAGES_PER_SHARD = 100
CROPS = TextCrops(share=1.0, heights=RangeSchedule(end=RECOMMENDED_HEIGHTS), max_upscale=MAX_UPSCALE, seed=0)


@dataclass(frozen=True, kw_only=True)
class SizeCrops:
    """The tags in crops at one size of the input. Tags of unknown text height are left out.

    images: number of images, each with one crop. shown: number of tags in the crops, distinct in each.
    legible: maps text heights to the number of shown tags whose text is at least that high.
    shares: the same as shares of the shown tags; 0 if there are none. per_image: the same per image.
    """

    images: int
    shown: int
    legible: dict[int, int]
    shares: dict[int, float]
    per_image: dict[int, float]

    @property
    def shown_per_image(self) -> float:
        """Mean number of tags in a crop."""
        return self.shown / max(1, self.images)

    def to_json(self) -> dict[str, Any]:
        """Returns the values for JSON, whose keys are strings."""
        return {
            "images": self.images,
            "tags_shown": self.shown,
            "legible": {str(height): tags for height, tags in self.legible.items()},
            "legible_share": {str(height): share for height, share in self.shares.items()},
            "legible_per_image": {str(height): tags for height, tags in self.per_image.items()},
        }


@dataclass(frozen=True, kw_only=True)
class CropCounts:
    """Counts of tags in crops. Counts of several shards are added.

    images: number of ok images that were measured. shown: maps an image size to the number of tags in the crops.
    legible: maps an image size and a text height to the number of these tags whose text is at least that high.
    """

    images: int = 0
    shown: Counter[int] = field(default_factory=Counter)
    legible: Counter[tuple[int, int]] = field(default_factory=Counter)

    def __add__(self, other: "CropCounts") -> "CropCounts":
        return CropCounts(
            images=self.images + other.images, shown=self.shown + other.shown, legible=self.legible + other.legible
        )

    @property
    def has_tags(self) -> bool:
        """Whether any crop shows a tag of known text height."""
        return self.shown.total() > 0

    def at(self, image_size: int, text_heights: Sequence[int]) -> SizeCrops:
        """Returns the figures at one size of the input."""
        legible = {height: self.legible[image_size, height] for height in text_heights}
        shown = self.shown[image_size]
        return SizeCrops(
            images=self.images,
            shown=shown,
            legible=legible,
            shares={height: tags / max(1, shown) for height, tags in legible.items()},
            per_image={height: tags / max(1, self.images) for height, tags in legible.items()},
        )


class CropMeter:
    """Draws crops of images of one shard and counts the tags in them.

    Measures up to IMAGES_PER_SHARD ok images, evenly spread over the shard. The draws are functions of the numbers of
    shard and record, so counts do not depend on how the shard is read.

    shard: a finished shard. image_sizes: sizes of the input. text_heights: heights to count, ascending.

    Raises OvocrError, naming the file, if the statistics of the shard cannot be read.
    """

    def __init__(self, shard: TextShard, image_sizes: Sequence[int], text_heights: Sequence[int]) -> None:
        self._sizes, self._heights = image_sizes, text_heights
        self._total = max(IMAGES_PER_SHARD, shard.data_set.counts(shard.number).ok)
        self._first_position = shard.number << 32
        self._seen = 0

    def count(self, places: PlaceBatch) -> CropCounts:
        """Returns the counts of the images of the next batch of the shard."""
        numbers = np.arange(self._seen, self._seen + len(places.record_ids))  # record ids, if the table is undamaged
        self._seen += len(numbers)
        before = numbers * IMAGES_PER_SHARD // self._total
        measured = np.flatnonzero((numbers + 1) * IMAGES_PER_SHARD // self._total > before)
        starts, ends = (np.searchsorted(places.images, measured, side).tolist() for side in ("left", "right"))
        shown: Counter[int] = Counter()
        legible: Counter[tuple[int, int]] = Counter()
        for image, start, end in zip(measured.tolist(), starts, ends, strict=True):
            position = self._first_position + int(numbers[image])
            size = int(places.widths[image]), int(places.heights[image])
            known = _known_places(places, slice(start, end))
            for image_size in self._sizes:
                heights = self._draw_heights(*size, image_size, position, known)
                shown[image_size] += len(heights)
                for least in self._heights:
                    legible[image_size, least] += int((heights >= least).sum())
        return CropCounts(images=len(measured), shown=shown, legible=legible)

    def _draw_heights(
        self, width: int, height: int, image_size: int, position: int, places: ImagePlaces
    ) -> NDArray[np.float32]:
        """Returns the text heights of the tags in a crop, in pixels of the input.

        As in a training run whose min_text_height is the smallest of the heights, the sample shows the first crop with
        a tag that is high enough, or else the whole image.
        """
        to_draw = places.where(places.text_heights > 0)
        whole = whole_view(width, height, image_size)
        heights = np.empty(0, np.float32)
        for view in chain(CROPS.draw(width, height, image_size, position, to_draw), [whole]):
            heights = places.where(shown_in(view, places, MIN_VISIBLE)).tag_heights()[1] * view.scale
            if (heights >= self._heights[0]).any():
                break
        return heights


def _known_places(places: PlaceBatch, own: slice) -> ImagePlaces:
    """Returns the places of an image whose text height is known. own: the places of the image."""
    all_places = ImagePlaces(
        places.ids[own], whole_pixels(places.boxes[own]), places.text_heights[own].astype(np.float32)
    )
    return all_places.where(all_places.text_heights >= 0)
