"""Views: the part of an image that an input shows and its scale, and the places of tags that are visible in it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Share of the area of a place's box that must be inside a crop, by default.
MIN_VISIBLE = 0.8
# A side of a stored image is at most 32,767 pixels, so int16 can store a corner.
_LOWEST, _HIGHEST = np.iinfo(np.int16).min, np.iinfo(np.int16).max


class Crop(NamedTuple):
    """A part of an image: pixel columns [left, right) and rows [top, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def longest(self) -> int:
        """The longer side in pixels."""
        return max(self.right - self.left, self.bottom - self.top)


class View(NamedTuple):
    """What a square input shows. scale: pixels of the input per pixel of the image. The rest of the input is padding.

    is_whole: whether the input shows the whole image, letterboxed.
    """

    crop: Crop
    scale: float
    is_whole: bool = False


class ImagePlaces(NamedTuple):
    """The M places of an image: where the words of its tags stand, in pixels of the stored image.

    ids: int32 [M], class ids, which repeat. boxes: int16 [M, 8], x1, y1 .. x4, y4.
    text_heights: float32 [M]; UNKNOWN_HEIGHT, which is negative, if unknown.
    """

    ids: NDArray[np.int32]
    boxes: NDArray[np.int16]
    text_heights: NDArray[np.float32]

    def where(self, mask: NDArray[np.bool_]) -> "ImagePlaces":
        """Returns the places that a mask, bool [M], selects."""
        return ImagePlaces(self.ids[mask], self.boxes[mask], self.text_heights[mask])

    def tag_heights(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Returns the distinct tags, ascending, and the largest text height of each: int32 [N], float32 [N]."""
        order = np.lexsort((self.text_heights, self.ids))  # the largest height of a tag comes last
        ids, heights = self.ids[order], self.text_heights[order]
        is_last = np.ones(len(ids), np.bool_)
        is_last[:-1] = ids[1:] != ids[:-1]
        return ids[is_last], heights[is_last]


def whole_pixels(boxes: NDArray[np.float32]) -> NDArray[np.int16]:
    """Returns the nearest corners in whole pixels: [M, 8]."""
    return np.clip(np.rint(boxes), _LOWEST, _HIGHEST).astype(np.int16)


def whole_view(width: int, height: int, size: int) -> View:
    """Returns the view of a whole image: its longer side is scaled to the side of the input, up or down."""
    return View(Crop(0, 0, width, height), size / max(width, height), is_whole=True)


def letterboxed_view(crop: Crop, size: int) -> View:
    """Returns the view of a crop whose longer side is scaled to the side of the input, up or down."""
    return View(crop, size / crop.longest)


def shown_shares(view: View, places: ImagePlaces) -> NDArray[np.float64]:
    """Returns the share of each place's box that the view contains, from 0 to 1: float64 [M]."""
    return np.ones(len(places.ids)) if view.is_whole else visible_shares(places.boxes, view.crop)


def shown_in(view: View, places: ImagePlaces, min_visible: float) -> NDArray[np.bool_]:
    """Returns a mask of the places with at least ``min_visible`` of their box in the view: bool [M]."""
    return shown_shares(view, places) >= min_visible


def visible_shares(boxes: NDArray[np.int16], crop: Crop) -> NDArray[np.float64]:
    """Returns the share of each box's area that is inside the crop, from 0 to 1: float64 [M].

    boxes: [M, 8], the corners x1, y1 .. x4, y4 of convex quadrilaterals in pixels. A box without area has share 1 if
        its center is inside the crop, else 0.
    """
    corners_M42 = boxes.reshape(-1, 4, 2).astype(np.float64)
    low_2, high_2 = np.array(crop[:2], float), np.array(crop[2:], float)
    lowest_M2, highest_M2 = corners_M42.min(axis=1), corners_M42.max(axis=1)
    shares = ((lowest_M2 >= low_2).all(axis=1) & (highest_M2 <= high_2).all(axis=1)).astype(np.float64)
    is_outside = (highest_M2 <= low_2).any(axis=1) | (lowest_M2 >= high_2).any(axis=1)
    is_cut = ~is_outside & (shares == 0)
    if is_cut.any():
        shares[is_cut] = _clipped_shares(corners_M42[is_cut], low_2, high_2)
    return shares


def _clipped_shares(
    corners_M42: NDArray[np.float64], low_2: NDArray[np.float64], high_2: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the share of each polygon's area between two corners of a rectangle.

    Each edge gets a corner where it crosses a side of the rectangle. Then all corners outside are moved to the nearest
    point of the rectangle: the part of the polygon that was outside has no area any more.
    """
    area_M = _areas(corners_M42)
    polygon = corners_M42
    for axis in (0, 1):
        polygon = _with_crossings(polygon, axis, low_2[axis], high_2[axis])
        polygon[:, :, axis] = polygon[:, :, axis].clip(low_2[axis], high_2[axis])
    middle_M2 = corners_M42.mean(axis=1)
    has_center_M = ((middle_M2 >= low_2) & (middle_M2 < high_2)).all(axis=1)
    shares = np.divide(_areas(polygon), area_M, out=has_center_M.astype(np.float64), where=area_M > 0)
    return shares.clip(0, 1)


def _with_crossings(polygon_MN2: NDArray[np.float64], axis: int, low: float, high: float) -> NDArray[np.float64]:
    """Adds two corners to each edge, where it crosses x = low and x = high (y for axis 1), in order: [M, 3 N, 2].

    An edge that does not cross such a line gets copies of its ends.
    """
    ends = np.roll(polygon_MN2, -1, axis=1)
    start_MN, length_MN = polygon_MN2[:, :, axis], (ends - polygon_MN2)[:, :, axis]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.stack([(line - start_MN) / length_MN for line in (low, high)])
    # An edge along the line has 0 / 0; it crosses nothing.
    at = np.sort(np.nan_to_num(at, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1), axis=0)
    crossings = [polygon_MN2 + fraction[:, :, None] * (ends - polygon_MN2) for fraction in at]
    count = polygon_MN2.shape[1]
    return np.stack([polygon_MN2, *crossings], axis=2).reshape(len(polygon_MN2), 3 * count, 2)


def _areas(polygon_MN2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the areas of polygons by the shoelace formula."""
    x, y = np.moveaxis(polygon_MN2 - polygon_MN2[:, :1], 2, 0)
    return np.abs((x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)) / 2
