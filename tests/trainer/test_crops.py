"""Crops that know what they cut away: pictures whose words are at known places, in colours of their own."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from ovocr.dataset import LabelledDataSet
from ovocr.errors import OvocrError
from ovocr.recordio import RecordWriter
from ovocr.trainer.data.crops import Crop, CropPolicy, draw_crop, refill, visible_shares
from ovocr.trainer.data.pictures import load_crop, load_picture
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.data.tag_boxes import TagBoxes

POLICY = CropPolicy(share=1.0, scale=(0.2, 0.9), ratio=(0.75, 4 / 3), min_visible=0.8, seed=3)
SIDE = 240
# Of each word its colour, and the corners of its box; the last one stands at an angle.
COLOURS = [(220, 30, 30), (30, 160, 30), (30, 30, 220), (200, 150, 0), (160, 0, 160)]
BOXES = [
    [(10, 10), (90, 10), (90, 40), (10, 40)],
    [(140, 20), (230, 20), (230, 50), (140, 50)],
    [(20, 180), (110, 180), (110, 220), (20, 220)],
    [(150, 190), (225, 190), (225, 215), (150, 215)],
    [(100, 90), (150, 80), (156, 110), (106, 120)],
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ovocr" / "tag-boxes"


def painted() -> NDArray[np.uint8]:
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for colour, box in zip(COLOURS, BOXES, strict=True):
        cv2.fillConvexPoly(picture, np.array(box, np.int32), colour)
    return picture


def encoded(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def write(root: Path, records: Sequence[tuple[bytes, list[int], list[list[float]] | None]]) -> Path:
    """A data set of one shard; of each record its picture, its slots, and the boxes of its distinct tags in order."""
    data_set = LabelledDataSet(root)
    rows = [{"record_id": None, "tags": []}]  # a dropped picture comes first: rows are not records
    with RecordWriter(data_set.rec_prefix(0)) as writer:
        for number, (picture, slots, boxes) in enumerate(records):
            writer.write(number, np.array(slots, np.float32), picture)
            distinct = list(dict.fromkeys(slots))
            places = boxes or [None] * len(distinct)
            tags = [{"id": tag, "box": box} for tag, box in zip(distinct, places, strict=True)]
            rows.append({"record_id": number, "tags": tags})
    kind = pa.struct([("id", pa.int32()), ("box", pa.list_(pa.float32()))])
    schema = pa.schema([("record_id", pa.int64()), ("tags", pa.list_(kind))])
    data_set.records_path(0).parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema), data_set.records_path(0))
    data_set.stats_path(0).parent.mkdir()
    data_set.stats_path(0).write_text("{}")
    data_set.vocabulary_path.write_text("".join(f"word{number}\n" for number in range(9)))
    data_set.manifest_path.write_text('{"shards": [{}]}')
    return root


def flat(box: list[tuple[int, int]]) -> list[float]:
    return [float(value) for corner in box for value in corner]


@pytest.fixture
def samples(tmp_path: Path) -> RecordSamples:
    slots = [0, 1, 2, 3, 4, 0, 1, 2]
    root = write(tmp_path / "set", [(encoded(painted()), slots, [flat(box) for box in BOXES])])
    return RecordSamples([root], labels_stored=8, num_classes=9, image_size=SIDE, crops=POLICY)


def painted_area(pixels: NDArray[np.uint8], word: int) -> int:
    """Pixels [3, S, S] in the word's colour."""
    distance = np.abs(pixels.astype(int) - np.array(COLOURS[word])[:, None, None]).max(axis=0)
    return int((distance < 40).sum())


def test_tags_are_kept_by_what_the_pixels_show(samples: RecordSamples):
    """The pixels tell how much of a word is there, without any arithmetic of boxes."""
    whole = load_picture(encoded(painted()), SIDE)
    full = [painted_area(whole, word) for word in range(5)]
    seen = {"kept": 0, "dropped": 0, "whole": 0}
    for position in range(200):
        crop = draw_crop(SIDE, SIDE, POLICY, position)
        pixels, labels, _ = samples.load(0, position)
        kept = set(labels.tolist())
        if crop is None or np.array_equal(pixels, whole):
            assert kept == {0, 1, 2, 3, 4}
            seen["whole"] += 1
            continue
        zoom = (SIDE / max(crop.right - crop.left, crop.bottom - crop.top)) ** 2
        for word in range(5):
            share = painted_area(pixels, word) / (full[word] * zoom)
            if share > 0.88:  # edges that are blurred and rounded are left out
                assert word in kept, (position, word, share)
                seen["kept"] += 1
            elif share < 0.72:
                assert word not in kept, (position, word, share)
                seen["dropped"] += 1
    assert seen["kept"] > 150
    assert seen["dropped"] > 300
    assert seen["whole"] < 30


def test_kept_tags_fill_all_slots_in_turn(samples: RecordSamples):
    for position in range(50):
        labels = samples.load(0, position).labels
        assert labels.shape == (8,)
        distinct = list(dict.fromkeys(labels.tolist()))
        assert distinct == sorted(distinct)  # as they stood in the record
        counts = np.bincount(labels)[distinct]
        assert counts.min() >= 1


def test_what_is_drawn_depends_on_seed_and_position_alone(samples: RecordSamples, tmp_path: Path):
    again = pickle.loads(pickle.dumps(samples))
    for position in (0, 7, 10**12):
        first, second = samples.load(0, position), again.load(0, position)
        assert np.array_equal(first.pixels, second.pixels)
        assert np.array_equal(first.labels, second.labels)
    other = CropPolicy(**{**vars(POLICY), "seed": 4})
    assert draw_crop(500, 300, POLICY, 1) != draw_crop(500, 300, other, 1)
    assert draw_crop(500, 300, POLICY, 1) != draw_crop(500, 300, POLICY, 2)


def test_without_a_position_pictures_are_whole(samples: RecordSamples):
    pixels, labels, _ = samples.load(0)
    assert np.array_equal(pixels, load_picture(encoded(painted()), SIDE))
    assert labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_a_crop_without_any_word_falls_back_to_the_whole_picture(tmp_path: Path):
    corner = [flat([(0, 0), (4, 0), (4, 4), (0, 4)])]
    root = write(tmp_path / "set", [(encoded(painted()), [7, 7], corner)])
    samples = RecordSamples([root], labels_stored=2, num_classes=9, image_size=64, crops=POLICY)
    whole = load_picture(encoded(painted()), 64)
    loaded = [samples.load(0, position) for position in range(40)]
    assert all(sample.labels.tolist() == [7, 7] for sample in loaded)
    fallen_back = sum(np.array_equal(sample.pixels, whole) for sample in loaded)
    assert 20 < fallen_back <= 40


def test_crops_have_the_sizes_that_are_asked_for():
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
    # The place is uniform: a quarter of the free room to each side holds about as many.
    free = 1200 - width
    assert 0.2 < (inside[:, 0] < free / 4).mean() < 0.3
    whole = CropPolicy(**{**vars(POLICY), "share": 0.25})
    kept = sum(draw_crop(1200, 800, whole, position) is not None for position in range(2000))
    assert 430 < kept < 570
    # A strip has no part of that shape which is so large.
    assert draw_crop(2000, 20, CropPolicy(**{**vars(POLICY), "scale": (0.8, 0.9)}), 1) is None


def test_visible_shares_are_those_of_counted_pixels():
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


def test_a_box_without_area_is_inside_or_not():
    point, line = [70, 60] * 4, [200, 10, 220, 10, 220, 10, 200, 10]
    shares = visible_shares(np.array([point, line, [50, 60] * 4], np.int16), Crop(60, 50, 160, 170))
    assert shares.tolist() == [1, 0, 0]
    assert visible_shares(np.zeros((0, 8), np.int16), Crop(0, 0, 5, 5)).shape == (0,)


def test_a_jpeg_that_is_decoded_smaller_shows_the_same_part():
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (12, 15, 3), np.uint8)
    picture = cv2.resize(coarse, (1200, 960), interpolation=cv2.INTER_CUBIC)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    crop = Crop(301, 203, 901, 763)
    fast = load_crop(data.tobytes(), crop, 64).astype(int)
    exact = load_crop(encoded(cv2.cvtColor(cv2.imdecode(data, 1), cv2.COLOR_BGR2RGB)), crop, 64).astype(int)
    beside = load_crop(data.tobytes(), Crop(341, 203, 941, 763), 64).astype(int)
    # Its edges are whole pixels of the smaller picture, of which a word has many.
    assert np.abs(fast - exact).mean() < 6
    assert np.abs(beside - exact).mean() > 15


def test_of_tags_that_repeat_the_kept_ones_go_on_repeating():
    assert refill(np.array([1, 2, 3, 1, 2]), np.array([True, False, True, True, False])).tolist() == [1, 3, 1, 1, 3]


def test_places_are_kept_for_the_next_process(samples: RecordSamples, cache: Path, tmp_path: Path):
    samples.load(0, 1)
    (kept,) = cache.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["boxes.npy", "ends.npy", "ids.npy"]
    table = tmp_path / "set" / "records" / "00000.parquet"
    status = table.stat()
    table.write_bytes(bytes(status.st_size))  # as long, and of the same time: it is not looked at again
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    tags = TagBoxes([table]).of_record(0, 0)
    assert tags.ids.tolist() == [0, 1, 2, 3, 4]
    assert tags.boxes[4].tolist() == flat(BOXES[4])
    os.utime(table, ns=(0, 0))
    with pytest.raises(OvocrError, match=r"00000\.parquet: the places of tags cannot be read"):
        TagBoxes([table]).of_record(0, 0)


def test_where_nothing_can_be_kept_places_are_read_all_the_same(
    samples: RecordSamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    table = tmp_path / "set" / "records" / "00000.parquet"
    assert TagBoxes([table]).of_record(0, 0).boxes.shape == (5, 8)


def test_tags_without_places_are_refused(tmp_path: Path):
    root = write(tmp_path / "set", [(encoded(painted()), [1, 2], None)])
    samples = RecordSamples([root], labels_stored=2, num_classes=9, image_size=64, crops=POLICY)
    with pytest.raises(OvocrError, match=r"00000\.parquet: has tags without boxes"):
        samples.load(0, 2)
    whole = RecordSamples([root], labels_stored=2, num_classes=9, image_size=64, crops=POLICY, crop_drops_tags=False)
    assert whole.load(0, 2).labels.tolist() == [1, 2]
    assert any(not np.array_equal(whole.load(0, position).pixels, whole.load(0).pixels) for position in range(5))
