"""Random crops that track tags: the part of an image that a sample shows, and the tags still visible in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.hashing import GOLDEN, mix, seed_key

_ATTEMPTS = 10


class Crop(NamedTuple):
    """A part of an image: pixel columns [left, right) and rows [top, bottom)."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, kw_only=True)
class CropPolicy:
    """Settings of random crops, and the share of a word that must remain visible.

    share: share of the samples that are cropped; the others show the whole image.
    scale: smallest and largest share of the image's area.
    ratio: smallest and largest width / height.
    min_visible: share of the area of a tag's box that must be inside the crop to keep the tag.
    seed: seed of the draws, together with the position of a sample.
    """

    share: float
    scale: tuple[float, float]
    ratio: tuple[float, float]
    min_visible: float
    seed: int


def draw_crops(width: int, height: int, policy: CropPolicy, position: int) -> Iterator[Crop]:
    """Yields crops of an image of this size in pixels, a function of (seed, position) on all workers and ranks.

    As in torchvision's RandomResizedCrop, the area and the logarithm of the ratio are drawn uniformly, then the
    position. Of ten draws, yields the crops that are inside the image, or nothing if the sample is shown whole. The
    first crop is the default; the others replace it if it shows no tag.
    """
    chance, *drawn = _uniform(policy.seed, position, 1 + 4 * _ATTEMPTS).tolist()
    if chance >= policy.share:
        return
    low, high = np.log(policy.ratio)
    for area, ratio, across, down in np.reshape(drawn, (_ATTEMPTS, 4)).tolist():
        pixels = width * height * (policy.scale[0] + area * (policy.scale[1] - policy.scale[0]))
        aspect = float(np.exp(low + ratio * (high - low)))
        crop_width, crop_height = round((pixels * aspect) ** 0.5), round((pixels / aspect) ** 0.5)
        if 1 <= crop_width <= width and 1 <= crop_height <= height:
            left, top = int(across * (width - crop_width + 1)), int(down * (height - crop_height + 1))
            yield Crop(left, top, left + crop_width, top + crop_height)


def visible_shares(boxes: NDArray[np.int16], crop: Crop) -> NDArray[np.float64]:
    """Returns the share of each box's area that the crop shows, from 0 to 1: float64 [M].

    boxes: [M, 8], the corners x1, y1 .. x4, y4 of convex quadrilaterals in pixels. A box without area has share 1 if
        its center is inside the crop, else 0.
    """
    shares = np.empty(len(boxes))
    corners_M42 = boxes.reshape(-1, 4, 2).astype(np.float32)
    low_M2, high_M2 = corners_M42.min(axis=1), corners_M42.max(axis=1)
    frame = np.array([[crop.left, crop.top], [crop.right, crop.bottom]], np.float32)
    inside = (low_M2 >= frame[0]).all(axis=1) & (high_M2 <= frame[1]).all(axis=1)
    outside = (high_M2 <= frame[0]).any(axis=1) | (low_M2 >= frame[1]).any(axis=1)
    shares[inside], shares[outside & ~inside] = 1, 0
    (left, top), (right, bottom) = frame
    window = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    for number in np.flatnonzero(~inside & ~outside).tolist():
        corners = corners_M42[number]
        area = cv2.contourArea(corners)
        if area > 0:
            shared, _ = cv2.intersectConvexConvex(corners, window)
            shares[number] = min(1.0, shared / area)
        else:
            middle = corners.mean(axis=0)
            shares[number] = float((middle >= frame[0]).all() and (middle < frame[1]).all())
    return shares


def refill(labels: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Repeats the kept labels cyclically up to the original number: int64 [T]. kept: bool [T], True at least once."""
    return np.resize(labels[kept], len(labels))


def _uniform(seed: int, position: int, count: int) -> NDArray[np.float64]:
    """Returns numbers in [0, 1), float64 [count]: the upper 53 bits of hashes of (seed, position, number)."""
    key = mix(seed_key(seed) ^ np.uint64(position))
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return (mix(key + steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53
