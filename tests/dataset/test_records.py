"""Rows and columns of records are read in parts. Errors name the damaged file."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet, is_inside_data_set, shard_number
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.record_columns import (
    count_class_ids,
    find_image,
    find_positions,
    find_text_positions,
    read_keys,
    read_places,
)
from ovocr.dataset.records import find_records, read_records, read_words
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.tables import TableError
from ovocr.dataset.text import read_texts_at

IMAGES = 2500  # three row groups


def box(number: int) -> tuple[float, ...]:
    return tuple(float(number + corner) for corner in range(8))


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> LabelledDataSet:
    """Returns a data set in which every third image is quarantined. Image n has places of n % 5, 7 and again n % 5."""
    written = LabelledDataSet(tmp_path_factory.mktemp("set"))
    with ShardWriter(written, 0, ShardEntry(source="x.tar", kind="tar")) as writer:
        for number in range(IMAGES):
            ids = (number % 5, 7, number % 5)
            places = [Place(id, line, box(number + line)) for line, id in enumerate(ids)]
            ok = Outcome(status=Status.OK, jpeg=b"j", width=number + 1, height=1, places=places, slots=[7])
            writer.add(f"{number:04d}.jpg", quarantined(Reason.EMPTY, "") if number % 3 == 2 else ok)
    return written


def test_rows_by_position(data_set: LabelledDataSet):
    positions = [0, 2, 999, 1000, 2499]
    rows = read_records(data_set.records_path(0), positions, with_text=True)
    assert [(row.position, row.key) for row in rows] == [(position, f"{position:04d}.jpg") for position in positions]
    assert [row.was_read for row in rows] == [True, False, True, True, True]
    assert rows[2].places == [Place(4, 0, box(999)), Place(7, 1, box(1000)), Place(4, 2, box(1001))]
    assert (rows[1].tags, rows[2].tags) == ([], [4, 7])
    with pytest.raises(TableError, match="00000.parquet: cannot be read: there is no row 2500; restore the file"):
        read_records(data_set.records_path(0), [1, IMAGES], with_text=True)


def test_rows_by_key_and_by_conditions(data_set: LabelledDataSet):
    path = data_set.records_path(0)
    assert [row.position for row in find_records(path, "1234.jpg", with_text=True)] == [1234]
    assert find_records(path, "none", with_text=True) == []
    found = find_positions(path, with_text=True, status="ok", class_id=3)
    assert found == [number for number in range(IMAGES) if number % 3 != 2 and number % 5 == 3]
    assert find_positions(path, with_text=True, status="ok", keys=["0002.jpg", "0003.jpg"]) == [3]
    assert pa.concat_arrays(read_keys(path)).to_pylist() == [f"{number:04d}.jpg" for number in range(IMAGES)]


def test_quarantined_images_have_no_row_of_text(data_set: LabelledDataSet):
    positions = find_text_positions(data_set.records_path(0), [1, 2, 3, 2400])
    assert positions == {1: 1, 3: 2, 2400: 1600}
    texts = read_texts_at(data_set.ocr_path(0), list(positions.values()))
    assert [(key, text.width) for key, text in texts] == [("0001.jpg", 2), ("0003.jpg", 4), ("2400.jpg", 2401)]


def test_tags_and_places_of_records(data_set: LabelledDataSet):
    path = data_set.records_path(0)
    records = [number for number in range(IMAGES) if number % 3 != 2]
    expected = np.bincount([number % 5 for number in records], minlength=8)
    expected[7] = len(records)
    assert np.array_equal(count_class_ids(path), expected)
    places = read_places(path)
    assert places.ends.tolist() == list(range(3, 3 * len(records) + 1, 3))
    assert places.ids[:6].tolist() == [0, 7, 0, 1, 7, 1]
    assert places.boxes[5].tolist() == list(box(3))
    assert [row.class_ids for row in read_words(path)][:4] == [[0, 7], [1, 7], [], [3, 7]]
    assert data_set.counts(0).tags == 2 * len(records)
    assert find_image(path, 2) == ("x.tar", "0003.jpg")
    assert find_image(path, IMAGES) is None


@pytest.mark.parametrize("damage", ["missing", "cut", "pipe", "null", "column"])
def test_error_names_the_damaged_file_in_one_line(data_set: LabelledDataSet, tmp_path: Path, damage: str):
    path = tmp_path / "00000.parquet"
    table = pq.read_table(data_set.records_path(0))
    if damage == "cut":
        path.write_bytes(data_set.records_path(0).read_bytes()[:-20])
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "null":
        pq.write_table(table.set_column(1, table.schema.field("key"), pa.nulls(IMAGES, pa.string())), path)
    elif damage == "column":
        pq.write_table(table.drop_columns("tags"), path)
    with pytest.raises(OvocrError, match=r"00000.parquet: cannot be read: .+; restore the file") as caught:
        read_records(path, [0], with_text=True)
    assert "\n" not in str(caught.value)


def test_file_names_of_shards():
    assert shard_number("rec", "00012.idx", with_text=True) == 12
    assert shard_number("rec", "123456.rec", with_text=True) == 123456
    assert shard_number("ocr", "00012.parquet", with_text=False) is None
    for name in ("00012.json", "012.rec", "000012.rec", "00012.rec.bak", "\u0663\u0663\u0663\u0663\u0663.rec"):
        assert shard_number("rec", name, with_text=True) is None


def test_paths_inside_a_data_set(tmp_path: Path):
    (tmp_path / "manifest.json").touch()
    assert is_inside_data_set(tmp_path / "report.html")
    assert is_inside_data_set(tmp_path / "stats" / "report.json")
    assert not is_inside_data_set(tmp_path / "other" / "report.json")
    assert not is_inside_data_set(tmp_path.parent / "report.json")


def test_table_without_the_key_is_opened_once(data_set: LabelledDataSet, monkeypatch: pytest.MonkeyPatch):
    opened = []
    open_file = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda path: opened.append(path) or open_file(path))
    assert find_records(data_set.records_path(0), "no such key", with_text=True) == []
    assert opened == [data_set.records_path(0)]
