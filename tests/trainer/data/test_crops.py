"""Tag-aware crops of images whose words are at known positions, each in its own colour."""

import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.crops import Crop, CropPolicy, draw_crops, refill, visible_shares
from ovocr.trainer.data.images import load_crop, load_image
from ovocr.trainer.data.place_boxes import PlaceBoxes
from ovocr.trainer.data.records import RecordSamples
from tests.trainer.placed_words import BOXES, COLOURS, SIDE, encoded, flat, painted, write_placed

POLICY = CropPolicy(share=1.0, scale=(0.2, 0.9), ratio=(0.75, 4 / 3), min_visible=0.8, seed=3)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ovocr" / "place-boxes"


def draw_crop(width: int, height: int, policy: CropPolicy, position: int) -> Crop | None:
    """Returns the first crop drawn."""
    return next(draw_crops(width, height, policy, position), None)


@pytest.fixture
def samples(tmp_path: Path) -> RecordSamples:
    slots = [0, 1, 2, 3, 4, 0, 1, 2]
    root = write_placed(tmp_path / "set", [(encoded(painted()), slots, [flat(box) for box in BOXES])])
    return RecordSamples([root], labels_stored=8, num_classes=9, image_size=SIDE, crops=POLICY)


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
        pixels, labels, _ = samples.load(0, position)
        kept = set(labels.tolist())
        parts = draw_crops(SIDE, SIDE, POLICY, position)
        crop = next((part for part in parts if np.array_equal(pixels, load_crop(encoded(painted()), part, SIDE))), None)
        if crop is None:
            assert np.array_equal(pixels, whole)
            assert kept == {0, 1, 2, 3, 4}
            seen["whole"] += 1
            continue
        zoom = (SIDE / max(crop.right - crop.left, crop.bottom - crop.top)) ** 2
        for word in range(5):
            share = painted_area(pixels, word) / (full[word] * zoom)
            if share > 0.88:  # ignores blurred and rounded edges
                assert word in kept, (position, word, share)
                seen["kept"] += 1
            elif share < 0.72:
                assert word not in kept, (position, word, share)
                seen["dropped"] += 1
    assert seen["kept"] > 150
    assert seen["dropped"] > 300
    assert seen["whole"] < 30


def test_crop_that_shows_only_another_place_of_a_word_keeps_its_tag(tmp_path: Path):
    """Word 0 stands at the first box and again at the fourth, word 1 only at the second."""
    places = [flat(BOXES[0]), flat(BOXES[1])]
    root = write_placed(tmp_path / "set", [(encoded(painted()), [0, 1, 0, 1], places)], again=[(0, flat(BOXES[3]))])
    samples = RecordSamples([root], labels_stored=4, num_classes=9, image_size=SIDE, crops=POLICY)
    labels = np.array([0, 1, 0, 1])
    lower, upper = Crop(0, 120, SIDE, SIDE), Crop(0, 0, 120, 120)
    assert samples.kept_tags(0, labels, lower).tolist() == [True, False, True, False]
    assert samples.kept_tags(0, labels, upper).tolist() == [True, False, True, False]
    assert samples.kept_tags(0, labels, Crop(0, 60, SIDE, 180)).tolist() == [False] * 4
    found = samples.places_of(0)
    assert found is not None
    assert found.ids.tolist() == [0, 1, 0]
    assert samples.places_in(lower, found).tolist() == [False, False, True]
    assert samples.places_in(upper, found).tolist() == [True, False, False]
    # A place is enough, so more crops show the word than show its first place.
    first = RecordSamples(
        [write_placed(tmp_path / "first", [(encoded(painted()), [0, 1, 0, 1], places)])],
        labels_stored=4,
        num_classes=9,
        image_size=SIDE,
        crops=POLICY,
    )
    kept = [sum(0 in each.load(0, position).labels for position in range(60)) for each in (first, samples)]
    assert kept[0] < kept[1]


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
    other = CropPolicy(**{**vars(POLICY), "seed": 4})
    assert draw_crop(500, 300, POLICY, 1) != draw_crop(500, 300, other, 1)
    assert draw_crop(500, 300, POLICY, 1) != draw_crop(500, 300, POLICY, 2)


def test_images_are_whole_without_a_position(samples: RecordSamples):
    pixels, labels, _ = samples.load(0)
    assert np.array_equal(pixels, load_image(encoded(painted()), SIDE))
    assert labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_whole_image_is_used_if_no_crop_has_a_word(tmp_path: Path):
    corner = [flat([(0, 0), (4, 0), (4, 4), (0, 4)])]
    root = write_placed(tmp_path / "set", [(encoded(painted()), [7, 7], corner)])
    samples = RecordSamples([root], labels_stored=2, num_classes=9, image_size=64, crops=POLICY)
    whole = load_image(encoded(painted()), 64)
    loaded = [samples.load(0, position) for position in range(40)]
    assert all(sample.labels.tolist() == [7, 7] for sample in loaded)
    shown_whole = sum(np.array_equal(sample.pixels, whole) for sample in loaded)
    assert 5 < shown_whole <= 40


def test_crop_without_a_word_is_redrawn(tmp_path: Path):
    """A word in a corner is rarely in the first crop, but mostly in one of ten."""
    corner = [flat([(0, 0), (40, 0), (40, 40), (0, 40)])]
    root = write_placed(tmp_path / "set", [(encoded(painted()), [7, 7], corner)])
    policy = CropPolicy(**{**vars(POLICY), "scale": (0.3, 0.6)})
    samples = RecordSamples([root], labels_stored=2, num_classes=9, image_size=64, crops=policy)
    whole = load_image(encoded(painted()), 64)
    first = again = shown_whole = 0
    for position in range(200):
        shown = samples.load(0, position).pixels
        parts = list(draw_crops(SIDE, SIDE, policy, position))
        with_word = [part for part in parts if samples.kept_tags(0, np.array([7]), part).any()]
        if not with_word:
            assert np.array_equal(shown, whole)
            shown_whole += 1
            continue
        assert np.array_equal(shown, load_crop(encoded(painted()), with_word[0], 64))
        first, again = first + (with_word[0] == parts[0]), again + (with_word[0] != parts[0])
    assert min(first, again, shown_whole) > 0, (first, again, shown_whole)
    assert again > first


def test_crops_have_the_requested_sizes():
    crops = [draw_crop(1200, 800, POLICY, position) for position in range(2000)]
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
    whole = CropPolicy(**{**vars(POLICY), "share": 0.25})
    kept = sum(draw_crop(1200, 800, whole, position) is not None for position in range(2000))
    assert 430 < kept < 570
    # A narrow strip has no crop of this ratio and size.
    assert draw_crop(2000, 20, CropPolicy(**{**vars(POLICY), "scale": (0.8, 0.9)}), 1) is None


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
    fast = load_crop(data.tobytes(), crop, 64).astype(int)
    exact = load_crop(encoded(cv2.cvtColor(cv2.imdecode(data, 1), cv2.COLOR_BGR2RGB)), crop, 64).astype(int)
    shifted = load_crop(data.tobytes(), Crop(341, 203, 941, 763), 64).astype(int)
    # Its edges are rounded to pixels of the reduced image, which are small compared with a word.
    assert np.abs(fast - exact).mean() < 6
    assert np.abs(shifted - exact).mean() > 15


def test_repeated_tags_keep_repeating():
    assert refill(np.array([1, 2, 3, 1, 2]), np.array([True, False, True, True, False])).tolist() == [1, 3, 1, 1, 3]


def test_boxes_are_cached_for_the_next_process(samples: RecordSamples, cache: Path, tmp_path: Path):
    samples.load(0, 1)
    (kept,) = cache.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["boxes.npy", "ends.npy", "ids.npy"]
    table = tmp_path / "set" / "records" / "00000.parquet"
    status = table.stat()
    table.write_bytes(bytes(status.st_size))  # same size and time, so it is not read again
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    places = PlaceBoxes([table]).of_record(0, 0)
    assert places.ids.tolist() == [0, 1, 2, 3, 4]
    assert places.boxes[4].tolist() == flat(BOXES[4])
    os.utime(table, ns=(0, 0))
    with pytest.raises(OvocrError, match=r"00000\.parquet: cannot be read"):
        PlaceBoxes([table]).of_record(0, 0)


def test_cache_of_another_format_is_not_read(samples: RecordSamples, cache: Path):
    """Older versions cached one place per tag in another folder, under the same name for the same table."""
    samples.load(0, 1)
    (kept,) = cache.iterdir()
    old = cache.with_name("tag-boxes") / kept.name
    old.mkdir(parents=True)
    for name in ("ends", "ids", "boxes"):
        np.save(old / f"{name}.npy", np.zeros(1, np.int64))
    shutil.rmtree(cache)
    found = pickle.loads(pickle.dumps(samples)).places_of(0)
    assert found is not None
    assert found.ids.tolist() == [0, 1, 2, 3, 4]
    assert [path.name for path in cache.iterdir()] == [kept.name]


def test_boxes_are_read_without_a_cache(samples: RecordSamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    table = tmp_path / "set" / "records" / "00000.parquet"
    assert PlaceBoxes([table]).of_record(0, 0).boxes.shape == (5, 8)


def test_tags_without_boxes_raise(tmp_path: Path):
    root = write_placed(tmp_path / "set", [(encoded(painted()), [1, 2], None)])
    samples = RecordSamples([root], labels_stored=2, num_classes=9, image_size=64, crops=POLICY)
    with pytest.raises(OvocrError, match=r"00000\.parquet: contains tags without boxes"):
        samples.load(0, 2)
    whole = RecordSamples([root], labels_stored=2, num_classes=9, image_size=64, crops=POLICY, crop_drops_tags=False)
    assert whole.load(0, 2).labels.tolist() == [1, 2]
    assert any(not np.array_equal(whole.load(0, position).pixels, whole.load(0).pixels) for position in range(5))
