"""The tags of evaluated images with their text heights.

Shapes: N images, M pairs of an image and one of its distinct tags.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.samples import ShownTags


@dataclass(frozen=True)
class ImageTags:
    """The distinct tags of N images, concatenated image by image.

    ends: int64 [N], end offset of each image's tags.
    ids: int32 or int64 [M], class ids, distinct within an image.
    heights: float32 [M], text height of each tag: of the largest of its visible places, in pixels of the encoder's
        input; NaN if unknown; -inf without a visible place, if a crop shows the word only in part.

    Raises ValueError if the shapes do not fit.
    """

    ends: NDArray[np.int64]
    ids: NDArray[np.integer]
    heights: NDArray[np.float32]

    def __post_init__(self) -> None:
        last = int(self.ends[-1]) if len(self.ends) else 0
        if len(self.ids) != last or len(self.heights) != last or (np.diff(self.ends, prepend=0) < 0).any():
            raise ValueError(f"{len(self.ids)} ids and {len(self.heights)} heights do not fit ends up to {last}")

    @classmethod
    def of_samples(cls, samples: Iterable[ShownTags]) -> "ImageTags":
        """Joins the tags that samples show, sample by sample; also the words that are cut."""
        return cls.join(
            (np.append(own.ids, own.cut), np.append(own.heights, np.full(len(own.cut), -np.inf))) for own in samples
        )

    @classmethod
    def join(cls, images: Iterable[tuple[NDArray[np.integer], NDArray[np.floating]]]) -> "ImageTags":
        """Joins distinct ids and heights, image by image."""
        ids, heights = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for own_ids, own_heights in images:
            ids.append(own_ids.astype(np.int64))
            heights.append(own_heights.astype(np.float32))
        ends = np.cumsum([len(own) for own in ids[1:]], dtype=np.int64)
        return cls(ends, np.concatenate(ids), np.concatenate(heights))

    def __len__(self) -> int:
        return len(self.ends)

    def images(self, start: int, end: int) -> "ImageTags":
        """Returns the tags of the images start to end - 1."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[end - 1]) if end else 0
        return ImageTags(self.ends[start:end] - first, self.ids[first:last], self.heights[first:last])
