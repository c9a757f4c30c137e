"""Crops chosen by their text: a word of the image is drawn and scaled to a drawn height; the input is cut around it.

All draws are functions of (seed, position).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ovocr.base.hashing import uniform
from ovocr.views.view import Crop, ImagePlaces, View

_ATTEMPTS = 10
# More than the positions of any run (10**9 steps of 2**24 samples). The replacements of the sample at position p have
# the positions p + n * REPLACEMENT_OFFSET, so they have draws of their own, but belong to the same step.
REPLACEMENT_OFFSET = 2**54
# A smallest and a largest value. Heights are text heights, in pixels of the input.
Range = tuple[float, float]
Heights = Range
# The recommended range: from words that can just be read, with many words around them, to large ones.
RECOMMENDED_HEIGHTS: Heights = (12.0, 48.0)
# Default of max_upscale. More enlargement adds no detail.
MAX_UPSCALE = 2.0
# Margin around a word that is shown without its surroundings, as a share of the short side of its box.
_MARGIN = 0.1


@dataclass(frozen=True, kw_only=True)
class RangeSchedule:
    """A range at each step: from ``start`` at step 0 to ``end`` after ``steps`` steps, linearly.

    samples_per_step: the sample at position p of the run belongs to step p // samples_per_step. start: None for a
    constant range.
    """

    end: Range
    start: Range | None = None
    steps: int = 1
    samples_per_step: int = 1

    def at(self, position: int) -> Range:
        """Returns the smallest and largest value at a position of the run."""
        if self.start is None:
            return self.end
        step = position % REPLACEMENT_OFFSET // self.samples_per_step
        progress = min(1.0, step / self.steps)
        low, high = (start + progress * (end - start) for start, end in zip(self.start, self.end, strict=True))
        return low, high


ALL_CONTEXT = RangeSchedule(end=(1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class TextCrops:
    """Settings of crops chosen by their text.

    share: share of the samples that are cropped; the others show the whole image.
    heights: text heights of the drawn words.
    context: shares of the surroundings of the drawn words that are shown, from 0, the word alone, to 1, all that the
        input has room for.
    max_upscale: largest number of pixels of the input per pixel of the image. A word that would need more gets less
        than its drawn height.
    seed: seed of the draws, together with the position of a sample.
    """

    share: float
    heights: RangeSchedule
    context: RangeSchedule = ALL_CONTEXT
    max_upscale: float
    seed: int

    def draw(self, width: int, height: int, size: int, position: int, places: ImagePlaces) -> Iterator[View]:
        """Yields ten views of an image of this size in pixels, or none if the sample is shown whole.

        A view is drawn in four steps: a tag, uniformly; one of its places, uniformly; a height, log-uniformly; the
        position of the input, uniformly among those that contain the word and do not leave the image. A word that
        would be longer than the input gets less than its drawn height, so that it is shown whole. Then the share of
        the surroundings is drawn, uniformly, and each side of the view is moved towards the word.

        size: side of the input in pixels. An image that is smaller than the input, once scaled, is padded.
        places: the places to draw from, of known text heights. Without places there are no views.
        """
        chance, *drawn = uniform(self.seed, position, 1 + 6 * _ATTEMPTS).tolist()
        if chance >= self.share or not len(places.ids):
            return
        tags = np.unique(places.ids)
        low, high = np.log(self.heights.at(position)).tolist()
        least, most = self.context.at(position)
        # Draws of context come last, so that other draws are the same without it.
        of_views, of_context = np.split(np.array(drawn), [5 * _ATTEMPTS])
        for (tag, place, wanted, across, down), more in zip(of_views.reshape(-1, 5).tolist(), of_context, strict=True):
            own = np.flatnonzero(places.ids == tags[int(tag * len(tags))])
            chosen = own[int(place * len(own))]
            text_height = max(float(places.text_heights[chosen]), np.finfo(np.float32).tiny)
            corners = places.boxes[chosen].reshape(4, 2)
            (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
            drawn = float(np.exp(low + wanted * (high - low))) / text_height
            scale = min(drawn, self.max_upscale, size / max(x1 - x0, y1 - y0, 1))
            context, margin = least + float(more) * (most - least), _MARGIN * min(x1 - x0, y1 - y0)
            left, right = _shrunk(*_cut(width, size / scale, x0, x1, across), x0 - margin, x1 + margin, context)
            top, bottom = _shrunk(*_cut(height, size / scale, y0, y1, down), y0 - margin, y1 + margin, context)
            yield View(Crop(left, top, right, bottom), scale)


def _cut(length: int, wanted: float, first: int, last: int, draw: float) -> tuple[int, int]:
    """Returns start and end of a part of an axis of ``length`` pixels that contains [first, last).

    wanted: length of the part in pixels. A longer interval than this fills the part.
    draw: number in [0, 1) that decides the position.
    """
    part = min(length, max(1, round(wanted)))
    ends = sorted((last - part, first))
    lowest, highest = (min(max(end, 0), length - part) for end in ends)
    start = lowest + int(draw * (highest - lowest + 1))
    return start, start + part


def _shrunk(start: int, end: int, first: float, last: float, context: float) -> tuple[int, int]:
    """Returns start and end of a part of [start, end): [first, last), and this share of what is before and after it."""
    before, after = max(0.0, first - start), max(0.0, end - last)
    shrunk = min(start + round((1 - context) * before), end - 1)
    return shrunk, max(end - round((1 - context) * after), shrunk + 1)
