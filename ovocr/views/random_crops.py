"""Random crops: area, aspect ratio and position are drawn regardless of the text in the image."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ovocr.base.hashing import uniform
from ovocr.views.view import Crop, View, letterboxed_view

_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class RandomCrops:
    """Settings of random crops.

    share: share of the samples that are cropped; the others show the whole image.
    scale: smallest and largest share of the image's area.
    ratio: smallest and largest width / height.
    seed: seed of the draws, together with the position of a sample.
    """

    share: float
    scale: tuple[float, float]
    ratio: tuple[float, float]
    seed: int

    def draw(self, width: int, height: int, size: int, position: int) -> Iterator[View]:
        """Yields views of crops of an image of this size in pixels, a function of (seed, position).

        As in torchvision's RandomResizedCrop, the area and the logarithm of the ratio are drawn uniformly, then the
        position. Of ten draws, yields the crops that are inside the image, or nothing if the sample is shown whole.
        size: side of the input, to which the longer side of a crop is scaled.
        """
        chance, *drawn = uniform(self.seed, position, 1 + 4 * _ATTEMPTS).tolist()
        if chance >= self.share:
            return
        low, high = np.log(self.ratio)
        for area, ratio, across, down in np.reshape(drawn, (_ATTEMPTS, 4)).tolist():
            pixels = width * height * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
            aspect = float(np.exp(low + ratio * (high - low)))
            crop_width, crop_height = round((pixels * aspect) ** 0.5), round((pixels / aspect) ** 0.5)
            if 1 <= crop_width <= width and 1 <= crop_height <= height:
                left, top = int(across * (width - crop_width + 1)), int(down * (height - crop_height + 1))
                yield letterboxed_view(Crop(left, top, left + crop_width, top + crop_height), size)
