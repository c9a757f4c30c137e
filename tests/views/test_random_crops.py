"""Random crops of images whose words are at known positions, each in its own colour."""

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.trainer.data.images import load_image, load_view
from ovocr.trainer.data.records import RecordSamples, refill
from ovocr.views.random_crops import RandomCrops
from ovocr.views.view import Crop, letterboxed_view, visible_shares
from tests.trainer.placed_words import BOXES, COLOURS, SIDE, encoded, flat, painted, write_placed

CROPS = RandomCrops(share=1.0, scale=(0.2, 0.9), ratio=(0.75, 4 / 3), seed=3)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ovocr" / "places"


def draw_crop(width: int, height: int, crops: RandomCrops, position: int) -> Crop | None:
    """Returns the first crop drawn."""
    return next((view.crop for view in crops.draw(width, height, SIDE, position)), None)


def placed_samples(root: Path, labels: int, size: int = SIDE, crops: RandomCrops = CROPS) -> RecordSamples:
    return RecordSamples([root], labels_stored=labels, num_classes=9, image_size=size, crops=crops, min_visible=0.8)


def kept(samples: RecordSamples, labels: list[int], crop: Crop) -> list[bool]:
    """Returns which labels of the first record a crop keeps."""
    view = letterboxed_view(crop, samples.image_size)
    return samples.select(view, np.array(labels), samples.places_of(0)).is_positive.tolist()


@pytest.fixture
def samples(tmp_path: Path) -> RecordSamples:
    slots = [0, 1, 2, 3, 4, 0, 1, 2]
    root = write_placed(tmp_path / "set", [(encoded(painted()), slots, [flat(box) for box in BOXES])])
    return placed_samples(root, 8)


def painted_area(pixels: NDArray[np.uint8], word: int) -> int:
    """Returns the number of pixels [3, S, S] in the word's colour."""
    distance = np.abs(pixels.astype(int) - np.array(COLOURS[word])[:, None, None]).max(axis=0)
    return int((distance < 40).sum())


def test_kept_tags_match_the_visible_pixels(samples: RecordSamples):
    """The pixels show how much of a word is visible, independently of box arithmetic."""
    whole = load_image(encoded(painted()), SIDE)
    full = [painted_area(whole, word) for word in range(5)]
    seen = {"kept": 0, "dropped": 0, "whole": 0}
    for position in range(200):
        pixels, labels, *_ = samples.load(0, position)
        tags = set(labels.tolist())
        views = CROPS.draw(SIDE, SIDE, SIDE, position)
        view = next((view for view in views if np.array_equal(pixels, load_view(encoded(painted()), view, SIDE))), None)
        if view is None:
            assert np.array_equal(pixels, whole)
            assert tags == {0, 1, 2, 3, 4}
            seen["whole"] += 1
            continue
        zoom = view.scale**2
        for word in range(5):
            share = painted_area(pixels, word) / (full[word] * zoom)
            if share > 0.88:  # ignores blurred and rounded edges
                assert word in tags, (position, word, share)
                seen["kept"] += 1
            elif share < 0.72:
                assert word not in tags, (position, word, share)
                seen["dropped"] += 1
    assert seen["kept"] > 150
    assert seen["dropped"] > 300
    assert seen["whole"] < 30


def test_crop_that_shows_only_another_place_of_a_word_keeps_its_tag(tmp_path: Path):
    """Word 0 stands at the first box and again at the fourth, word 1 only at the second."""
    places = [flat(BOXES[0]), flat(BOXES[1])]
    root = write_placed(tmp_path / "set", [(encoded(painted()), [0, 1, 0, 1], places)], again=[(0, flat(BOXES[3]))])
    samples = placed_samples(root, 4)
    labels = [0, 1, 0, 1]
    lower, upper = Crop(0, 120, SIDE, SIDE), Crop(0, 0, 120, 120)
    assert kept(samples, labels, lower) == [True, False, True, False]
    assert kept(samples, labels, upper) == [True, False, True, False]
    assert kept(samples, labels, Crop(0, 60, SIDE, 180)) == [False] * 4
    found = samples.places_of(0)
    assert found is not None
    assert found.ids.tolist() == [0, 1, 0]
    assert samples.places_in(letterboxed_view(lower, SIDE), found).tolist() == [False, False, True]
    assert samples.places_in(letterboxed_view(upper, SIDE), found).tolist() == [True, False, False]
    # A place is enough, so more crops show the word than show its first place.
    first = placed_samples(write_placed(tmp_path / "first", [(encoded(painted()), [0, 1, 0, 1], places)]), 4)
    counts = [sum(0 in each.load(0, position).labels for position in range(60)) for each in (first, samples)]
    assert counts[0] < counts[1]


def test_kept_tags_fill_all_slots_cyclically(samples: RecordSamples):
    for position in range(50):
        labels = samples.load(0, position).labels
        assert labels.shape == (8,)
        distinct = list(dict.fromkeys(labels.tolist()))
        assert distinct == sorted(distinct)  # in the order of the record
        counts = np.bincount(labels)[distinct]
        assert counts.min() >= 1


def test_crops_depend_only_on_seed_and_position(samples: RecordSamples, tmp_path: Path):
    again = pickle.loads(pickle.dumps(samples))
    for position in (0, 7, 10**12):
        first, second = samples.load(0, position), again.load(0, position)
        assert np.array_equal(first.pixels, second.pixels)
        assert np.array_equal(first.labels, second.labels)
    other = replace(CROPS, seed=4)
    assert draw_crop(500, 300, CROPS, 1) != draw_crop(500, 300, other, 1)
    assert draw_crop(500, 300, CROPS, 1) != draw_crop(500, 300, CROPS, 2)


def test_images_are_whole_without_a_position(samples: RecordSamples):
    pixels, labels, *_ = samples.load(0)
    assert np.array_equal(pixels, load_image(encoded(painted()), SIDE))
    assert labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_whole_image_is_used_if_no_crop_has_a_word(tmp_path: Path):
    corner = [flat([(0, 0), (4, 0), (4, 4), (0, 4)])]
    root = write_placed(tmp_path / "set", [(encoded(painted()), [7, 7], corner)])
    samples = placed_samples(root, 2, 64)
    whole = load_image(encoded(painted()), 64)
    loaded = [samples.load(0, position) for position in range(40)]
    assert all(sample.labels.tolist() == [7, 7] for sample in loaded)
    shown_whole = sum(np.array_equal(sample.pixels, whole) for sample in loaded)
    assert 5 < shown_whole <= 40


def test_crop_without_a_word_is_redrawn(tmp_path: Path):
    """A word in a corner is rarely in the first crop, but mostly in one of ten."""
    corner = [flat([(0, 0), (40, 0), (40, 40), (0, 40)])]
    root = write_placed(tmp_path / "set", [(encoded(painted()), [7, 7], corner)])
    crops = replace(CROPS, scale=(0.3, 0.6))
    samples = placed_samples(root, 2, 64, crops)
    whole = load_image(encoded(painted()), 64)
    first = again = shown_whole = 0
    for position in range(200):
        shown = samples.load(0, position).pixels
        views = list(crops.draw(SIDE, SIDE, 64, position))
        with_word = [view for view in views if kept(samples, [7], view.crop) == [True]]
        if not with_word:
            assert np.array_equal(shown, whole)
            shown_whole += 1
            continue
        assert np.array_equal(shown, load_view(encoded(painted()), with_word[0], 64))
        first, again = first + (with_word[0] == views[0]), again + (with_word[0] != views[0])
    assert min(first, again, shown_whole) > 0, (first, again, shown_whole)
    assert again > first


def test_crops_have_the_requested_sizes():
    crops = [draw_crop(1200, 800, CROPS, position) for position in range(2000)]
    inside = np.array([crop for crop in crops if crop is not None])
    width, height = inside[:, 2] - inside[:, 0], inside[:, 3] - inside[:, 1]
    assert (inside[:, :2] >= 0).all()
    assert (inside[:, 2:] <= (1200, 800)).all()
    shares, ratios = width * height / (1200 * 800), width / height
    assert 0.195 < shares.min() < 0.21
    assert 0.8 < shares.max() < 0.905
    assert 0.74 < ratios.min() < 0.78
    assert 1.29 < ratios.max() < 1.345
    # The position is uniform, so each quarter of the free space has about as many crops.
    free = 1200 - width
    assert 0.2 < (inside[:, 0] < free / 4).mean() < 0.3
    whole = replace(CROPS, share=0.25)
    cropped = sum(draw_crop(1200, 800, whole, position) is not None for position in range(2000))
    assert 430 < cropped < 570
    # A narrow strip has no crop of this ratio and size.
    assert draw_crop(2000, 20, replace(CROPS, scale=(0.8, 0.9)), 1) is None


def test_visible_shares_match_counted_pixels():
    random = np.random.default_rng(5)
    crop = Crop(60, 50, 160, 170)
    boxes, counted = [], []
    for _ in range(60):
        middle, size = random.uniform(20, 220, 2), random.uniform(8, 70, 2)
        corners = np.rint(cv2.boxPoints((middle, size, random.uniform(0, 90)))).astype(np.int16)
        mask = np.zeros((8 * SIDE, 8 * SIDE), np.uint8)
        cv2.fillConvexPoly(mask, (corners.astype(np.int32) * 8), 1)
        counted.append(mask[8 * crop.top : 8 * crop.bottom, 8 * crop.left : 8 * crop.right].sum() / mask.sum())
        boxes.append(corners.reshape(-1))
    shares = visible_shares(np.array(boxes), crop)
    assert np.abs(shares - counted).max() < 0.03
    assert {0, 1} <= set(shares.tolist())
    assert ((shares > 0.2) & (shares < 0.8)).any()


def test_box_without_area_counts_as_its_center():
    point, line = [70, 60] * 4, [200, 10, 220, 10, 220, 10, 200, 10]
    shares = visible_shares(np.array([point, line, [50, 60] * 4], np.int16), Crop(60, 50, 160, 170))
    assert shares.tolist() == [1, 0, 0]
    assert visible_shares(np.zeros((0, 8), np.int16), Crop(0, 0, 5, 5)).shape == (0,)


def test_reduced_jpeg_shows_the_same_crop():
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (12, 15, 3), np.uint8)
    image = cv2.resize(coarse, (1200, 960), interpolation=cv2.INTER_CUBIC)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    crop = Crop(301, 203, 901, 763)
    fast = shown(data.tobytes(), crop)
    exact = shown(encoded(cv2.cvtColor(cv2.imdecode(data, 1), cv2.COLOR_BGR2RGB)), crop)
    shifted = shown(data.tobytes(), Crop(341, 203, 941, 763))
    # Its edges are rounded to pixels of the reduced image, which are small compared with a word.
    assert np.abs(fast - exact).mean() < 6
    assert np.abs(shifted - exact).mean() > 15


def shown(data: bytes, crop: Crop) -> NDArray[np.int64]:
    return load_view(data, letterboxed_view(crop, 64), 64).astype(int)


def test_repeated_tags_keep_repeating():
    assert refill(np.array([1, 2, 3, 1, 2]), np.array([True, False, True, True, False])).tolist() == [1, 3, 1, 1, 3]
