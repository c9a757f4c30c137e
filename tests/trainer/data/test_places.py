"""The places of records are read from two tables, and cached for other processes."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text_heights import UNKNOWN_HEIGHT
from ovocr.trainer.data.places import Places
from ovocr.views.view import ImagePlaces
from tests.trainer.placed_words import BOXES, SIDE, encoded, flat, painted, write_placed


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ovocr" / "shard-places"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_placed(tmp_path / "set", [(encoded(painted()), [0, 1, 2, 3, 4], [flat(box) for box in BOXES])])


def places_of(root: Path, record: int = 0) -> ImagePlaces:
    return Places([(LabelledDataSet(root), 0)]).of_record(0, record)


def test_places_have_boxes_of_words_and_heights_of_lines(tmp_path: Path):
    words = [(0, 0, 20, 0, 20, 12, 0, 12), (30, 100, 90, 100, 90, 160, 30, 160)]
    lines = [(0, 0, 200, 0, 200, 18, 0, 18), (30, 20, 60, 20, 60, 230, 30, 230)]
    records = [(encoded(painted()), [3, 5], words), (encoded(painted()), [5, 3], words[::-1])]
    root = write_placed(tmp_path / "lines", records, line_boxes=lines)
    first, second = places_of(root), places_of(root, 1)
    assert first.ids.tolist() == [3, 5]
    assert first.boxes.tolist() == [list(word) for word in words]
    assert first.text_heights.tolist() == [18, 30]  # the second line runs down
    assert second.ids.tolist() == [5, 3]
    assert second.boxes.tolist() == [list(word) for word in words[::-1]]
    with pytest.raises(OvocrError, match=r"records/00000\.parquet: does not contain record 2; run `ovocr verify`"):
        places_of(root, 2)


def test_height_is_unknown_for_several_lines_without_boxes(tmp_path: Path):
    whole = [0, 0, SIDE, 0, SIDE, SIDE, 0, SIDE]
    root = write_placed(tmp_path / "set", [(encoded(painted()), [1, 2], [whole, whole])], edges=())
    assert places_of(root).text_heights.tolist() == [UNKNOWN_HEIGHT] * 2
    single = write_placed(tmp_path / "single", [(encoded(painted()), [1], [whole])], edges=())
    assert places_of(single).text_heights.tolist() == [SIDE]


def test_places_are_cached_for_the_next_process(root: Path, cache: Path):
    before = places_of(root)
    assert len(list(cache.iterdir())) == 1
    data_set = LabelledDataSet(root)
    for table in (data_set.records_path(0), data_set.ocr_path(0)):
        status = table.stat()
        table.write_bytes(bytes(status.st_size))  # same size and time, so it is not read again
        os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = places_of(root)
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    os.utime(data_set.ocr_path(0), ns=(0, 0))
    with pytest.raises(OvocrError, match=r"00000\.parquet: cannot be read"):
        places_of(root)


def test_damaged_cache_is_written_again(root: Path, cache: Path):
    before = [array.tolist() for array in places_of(root)]
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", whole[:-1], whole[:10], b"x" * len(whole)):
        kept.unlink()  # a mapped file must not shrink
        kept.write_bytes(damaged)
        assert [array.tolist() for array in places_of(root)] == before
        assert kept.read_bytes() == whole


def test_places_are_read_without_a_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert places_of(root).boxes.shape == (5, 8)


def test_copies_do_not_share_mappings(root: Path):
    places = Places([(LabelledDataSet(root), 0)])
    places.of_record(0, 0)
    assert pickle.loads(pickle.dumps(places)).of_record(0, 0).ids.tolist() == [0, 1, 2, 3, 4]


def test_missing_text_is_an_error(root: Path):
    LabelledDataSet(root).ocr_path(0).unlink()
    with pytest.raises(OvocrError, match=r"ocr/00000\.parquet: "):
        places_of(root)
