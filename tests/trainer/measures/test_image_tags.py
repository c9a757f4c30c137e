"""The tags of images, joined and cut."""

import numpy as np
import pytest

from ovocr.trainer.measures.image_tags import ImageTags


def test_tags_are_joined_image_by_image() -> None:
    images = [([3, 5], [8.0, np.nan]), ([], []), ([3], [2.5])]
    tags = ImageTags.join((np.array(ids, np.int64), np.array(heights)) for ids, heights in images)
    assert len(tags) == 3
    assert tags.ends.tolist() == [2, 2, 3]
    assert tags.ids.tolist() == [3, 5, 3]
    assert tags.heights.dtype == np.float32
    assert np.array_equal(tags.heights, np.array([8, np.nan, 2.5], np.float32), equal_nan=True)
    assert len(ImageTags.join([])) == 0


@pytest.mark.parametrize(("start", "end"), [(0, 4), (0, 2), (1, 3), (2, 4), (3, 3)])
def test_part_has_the_tags_of_its_images(start: int, end: int) -> None:
    images = [(np.arange(n), np.full(n, float(n))) for n in (2, 0, 3, 1)]
    part, wanted = ImageTags.join(images).images(start, end), ImageTags.join(images[start:end])
    for name in ("ends", "ids", "heights"):
        assert getattr(part, name).tolist() == getattr(wanted, name).tolist()


@pytest.mark.parametrize(("ends", "ids", "heights"), [([2], 1, 1), ([1], 1, 2), ([2, 1], 1, 1), ([], 1, 1)])
def test_wrong_shapes_raise(ends: list[int], ids: int, heights: int) -> None:
    with pytest.raises(ValueError, match="do not fit ends"):
        ImageTags(np.array(ends, np.int64), np.zeros(ids, np.int64), np.zeros(heights, np.float32))
