"""Crops chosen by their text: the drawn word gets its drawn height, the input contains it, and draws are uniform."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.views.text_crops import REPLACEMENT_OFFSET, RangeSchedule, TextCrops
from ovocr.views.view import Crop, ImagePlaces, View, visible_shares

SIZE = 448
WIDTH, HEIGHT = 1000, 1400
CROPS = TextCrops(share=1.0, heights=RangeSchedule(end=(12, 48)), max_upscale=2.0, seed=7)


def places(*words: tuple[int, int, int, int, int]) -> ImagePlaces:
    """Returns upright words: class id, left, top, width, height; the line is as high as the word."""
    boxes = [(x, y, x + w, y, x + w, y + h, x, y + h) for _, x, y, w, h in words]
    return ImagePlaces(
        np.array([word[0] for word in words], np.int32),
        np.array(boxes, np.int16).reshape(-1, 8),
        np.array([word[4] for word in words], np.float32),
    )


# Tag 3 has two places.
WORDS = places((3, 40, 50, 90, 20), (5, 700, 60, 200, 40), (3, 500, 1300, 80, 16), (8, 900, 1370, 95, 24))


def draw(position: int, words: ImagePlaces = WORDS, crops: TextCrops = CROPS) -> list[View]:
    return list(crops.draw(WIDTH, HEIGHT, SIZE, position, words))


def drawn_word(view: View, words: ImagePlaces = WORDS, heights: tuple[float, float] = (12, 48)) -> NDArray[np.int64]:
    """Returns the words that the view can have been cut around: inside, and of a height in the range."""
    shown = words.text_heights * view.scale
    in_range = (shown >= heights[0] * (1 - 1e-6)) & (shown <= heights[1] * (1 + 1e-6))
    return np.flatnonzero((visible_shares(words.boxes, view.crop) == 1) & in_range)


def test_view_contains_a_word_of_the_drawn_height():
    for position in range(300):
        views = draw(position)
        assert len(views) == 10
        for view in views:
            left, top, right, bottom = view.crop
            assert 0 <= left < right <= WIDTH
            assert 0 <= top < bottom <= HEIGHT
            # The input is filled, unless the scaled image is smaller.
            assert right - left == min(WIDTH, round(SIZE / view.scale))
            assert bottom - top == min(HEIGHT, round(SIZE / view.scale))
            assert len(drawn_word(view))
            assert not view.is_whole


def test_tags_are_drawn_uniformly_then_their_places():
    """Words that are far apart, so that a view contains one of them only."""
    words = places((3, 40, 50, 90, 40), (5, 700, 60, 200, 40), (3, 500, 1300, 80, 40), (8, 900, 700, 95, 40))
    crops = replace(CROPS, heights=RangeSchedule(end=(70, 80)))
    found = [drawn_word(view, words, (70, 80)) for position in range(600) for view in draw(position, words, crops)]
    assert all(len(one) == 1 for one in found)
    shares = np.bincount(np.concatenate(found), minlength=4) / len(found)
    assert shares == pytest.approx([1 / 6, 1 / 3, 1 / 6, 1 / 3], abs=0.02)


def test_heights_are_drawn_log_uniformly():
    words = places((1, 400, 600, 60, 30))
    heights = np.array([30 * view.scale for position in range(400) for view in draw(position, words)])
    assert heights.min() == pytest.approx(12, abs=0.1)
    assert heights.max() == pytest.approx(48, abs=0.3)
    quartiles = np.quantile(np.log(heights / 12) / np.log(48 / 12), [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([0.25, 0.5, 0.75], abs=0.02)


def test_position_of_the_word_in_the_input_is_uniform():
    """A word in the middle of a large image may be at any place of the input."""
    words = places((1, 500, 700, 20, 20))
    crops = replace(CROPS, heights=RangeSchedule(end=(20, 20)))  # scale 1
    at = np.array([(500 - view.crop.left, 700 - view.crop.top) for p in range(400) for view in draw(p, words, crops)])
    for axis in (0, 1):
        assert np.quantile(at[:, axis], [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
            np.array([0, 0.25, 0.5, 0.75, 1]) * (SIZE - 20), abs=12
        )
    assert abs(np.corrcoef(at.T)[0, 1]) < 0.05


def test_word_at_an_edge_stays_inside_the_image():
    words = places((1, 985, 1380, 15, 20))
    for view in draw(3, words, replace(CROPS, heights=RangeSchedule(end=(20, 40)))):
        assert (view.crop.right, view.crop.bottom) == (WIDTH, HEIGHT)


def test_scale_is_limited():
    """A word of 4 pixels would need up to twelve times its size."""
    words = places((1, 400, 600, 60, 4), (2, 800, 100, 60, 8))
    scales = {view.scale for position in range(50) for view in draw(position, words)}
    assert max(scales) == 2.0
    assert min(scales) == pytest.approx(12 / 8, abs=0.1)


def test_large_text_is_scaled_down_below_the_whole_image():
    """A line of 700 pixels becomes 12 to 48 pixels high, so the image fills a corner of the input."""
    (view, *_) = draw(0, places((1, 100, 100, 800, 700)))
    assert view.crop == Crop(0, 0, WIDTH, HEIGHT)
    assert 12 <= 700 * view.scale <= 48


@pytest.mark.parametrize("box", [(1, 10, 600, 900, 10), (1, 600, 10, 10, 900)])
def test_word_longer_than_the_input_is_scaled_down_to_fit(box: tuple[int, int, int, int, int]):
    words = places(box)._replace(text_heights=np.array([10], np.float32))
    for position in range(50):
        for view in draw(position, words, replace(CROPS, heights=RangeSchedule(end=(20, 20)))):
            assert view.scale == pytest.approx(SIZE / 900)
            assert visible_shares(words.boxes, view.crop) == 1


def draw_with_context(position: int, context: tuple[float, float], words: ImagePlaces = WORDS) -> list[View]:
    return draw(position, words, replace(CROPS, context=RangeSchedule(end=context)))


def test_without_context_a_view_shows_the_word_and_a_margin():
    for position in range(100):
        for view, full in zip(draw_with_context(position, (0, 0)), draw(position), strict=True):
            assert view.scale == full.scale
            boxes = WORDS.boxes.reshape(-1, 4, 2).astype(float)
            margins = 0.1 * np.ptp(boxes, axis=1).min(axis=1)
            alone = np.concatenate([boxes[:, 0] - margins[:, None], boxes[:, 2] + margins[:, None]], axis=1)
            # The image and the full view end some margins.
            wanted = np.clip(alone, [*full.crop[:2]] * 2, [*full.crop[2:]] * 2)
            assert (np.abs(wanted - np.array(view.crop)).max(axis=1) <= 0.5).any()


def test_context_moves_each_side_from_the_word_to_the_full_view():
    for position in range(50):
        alone, half, full = (draw_with_context(position, (share, share)) for share in (0, 0.5, 1))
        assert full == draw(position)
        for least, middle, most in zip(alone, half, full, strict=True):
            assert middle.scale == most.scale
            sides = (np.array(view.crop, float) for view in (least, middle, most))
            inner, between, outer = sides
            assert np.abs(between - (inner + outer) / 2).max() <= 1


def test_context_is_drawn_uniformly():
    words = places((1, 400, 700, 40, 20))
    crops = replace(CROPS, heights=RangeSchedule(end=(20, 20)))  # scale 1
    shares = []
    for position in range(400):
        view, alone, full = (
            draw(position, words, replace(crops, context=RangeSchedule(end=context)))[0].crop
            for context in ((0.2, 0.6), (0.0, 0.0), (1.0, 1.0))
        )
        if alone.left - full.left >= 100:
            shares.append((alone.left - view.left) / (alone.left - full.left))
    assert len(shares) > 200
    assert 0.19 <= min(shares) < 0.23
    assert 0.57 < max(shares) <= 0.61
    assert np.mean(shares) == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("box", [(1, 1000, 5, 0, 0), (1, 0, 0, 0, 0), (1, 30, 40, 0, 20)])
def test_words_without_area_are_shown_in_a_view_with_area(box: tuple[int, int, int, int, int]):
    words = places(box)._replace(text_heights=np.array([20], np.float32))
    for view in draw_with_context(0, (0, 0), words):
        left, top, right, bottom = view.crop
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT


def test_word_partly_outside_the_image_is_possible():
    words = ImagePlaces(
        np.array([1], np.int32), np.array([[-30, -9, 20, -9, 20, 9, -30, 9]], np.int16), np.ones(1) * 18
    )
    for view in draw(1, words):
        assert (view.crop.left, view.crop.top) == (0, 0)


def test_schedule_is_a_linear_function_of_the_step():
    schedule = RangeSchedule(end=(12, 48), start=(24, 96), steps=10, samples_per_step=32)
    assert schedule.at(0) == schedule.at(31) == (24, 96)
    assert schedule.at(32) == pytest.approx((22.8, 91.2))
    assert schedule.at(5 * 32) == (18, 72)
    assert schedule.at(5 * 32 + 7 * REPLACEMENT_OFFSET) == (18, 72)  # a replacement belongs to the same step
    assert schedule.at(10 * 32) == schedule.at(10**12) == (12, 48)
    crops = replace(CROPS, heights=schedule)
    words = places((1, 400, 600, 60, 30))
    for position in (0, 40, 5 * 32 + 3, 10 * 32, 5000):
        low, high = schedule.at(position)
        heights = [30 * view.scale for view in draw(position, words, crops)]
        assert low - 0.01 <= min(heights)
        assert max(heights) <= min(high, 60) + 0.01


def test_draws_depend_only_on_seed_and_position():
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    assert draw(5) != draw(5, crops=replace(CROPS, seed=8))
    assert draw(10**15) == draw(10**15)


def test_share_of_the_samples_is_whole():
    crops = replace(CROPS, share=0.3)
    cropped = sum(bool(draw(position, crops=crops)) for position in range(1000))
    assert 250 < cropped < 350


def test_image_without_places_is_whole():
    assert draw(0, places()) == []
