"""The stored text of data sets: reading, errors, and work on shards in processes."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet, OldFormatError
from ovocr.dataset.text import ImageText, TextShard, find_shards, read_images
from ovocr.processes.shard_map import map_shards
from tests.old_format import make_old

WriteShard = Callable[..., None]


def first_keys_and_process(shard: TextShard) -> tuple[str, int]:
    return next(read_images(shard)).lines[0], os.getpid()


def die_at_the_third(shard: TextShard) -> int:
    if shard.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return shard.number


def test_finished_shards_of_all_data_sets_in_order(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "b", 0, [["x"]])
    for number, finished in ((10, True), (2, True), (3, False)):
        write_shard(tmp_path / "a", number, [["x"]], finished=finished)
    shards = find_shards([tmp_path / "b", tmp_path / "a"])
    assert shards == [TextShard(tmp_path / "b", 0), TextShard(tmp_path / "a", 2), TextShard(tmp_path / "a", 10)]


def test_images_beyond_one_batch_stay_in_order(tmp_path: Path, write_shard: WriteShard) -> None:
    images = [[f"line {number}", "b"][: number % 3] for number in range(700)]
    write_shard(tmp_path, 0, images)
    expected = [ImageText(f"{number}.jpg", lines) for number, lines in enumerate(images)]
    assert list(read_images(TextShard(tmp_path, 0))) == expected


def test_text_of_format_2_is_read_only_on_request(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path, 0, [["a", "b"], []])
    make_old(tmp_path, records=False)
    with pytest.raises(OldFormatError, match="format 2; make a data set of format 3"):
        find_shards([tmp_path])
    (shard,) = find_shards([tmp_path], old=True)
    assert shard == TextShard(tmp_path, 0, format=2)
    assert list(read_images(shard)) == [ImageText("0.jpg", ["a", "b"]), ImageText("1.jpg", [])]


def test_folder_that_is_not_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OvocrError, match="not a labelled data set"):
        find_shards([tmp_path])


def test_data_set_without_a_finished_shard_is_refused(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path, 0, [["a"]], finished=False)
    with pytest.raises(OvocrError, match=r"no finished shard yet; finish one with `ovocr build-labels`"):
        find_shards([tmp_path])


def test_data_set_named_twice_is_refused(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "a", 0, [["a"]])
    with pytest.raises(OvocrError, match="given twice"):
        find_shards([tmp_path / "a", tmp_path / "a" / ".." / "a"])


@pytest.mark.parametrize("damage", ["missing", "cut", "other columns"])
def test_a_broken_shard_is_named(tmp_path: Path, write_shard: WriteShard, damage: str) -> None:
    write_shard(tmp_path, 0, [["a"]])
    path = LabelledDataSet(tmp_path).ocr_path(0)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        pq.write_table(pa.table({"key": ["a"]}), path)
    with pytest.raises(OvocrError, match=rf"{path.name}: cannot be read"):
        list(read_images(TextShard(tmp_path, 0)))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_the_shards(tmp_path: Path, write_shard: WriteShard, workers: int) -> None:
    for number in range(7):
        write_shard(tmp_path, number, [[f"shard {number}"]])
    results = list(map_shards(first_keys_and_process, find_shards([tmp_path]), workers=workers))
    assert [line for line, _ in results] == [f"shard {number}" for number in range(7)]
    processes = {process for _, process in results}
    assert processes == {os.getpid()} if workers == 1 else os.getpid() not in processes


def test_an_error_in_a_process_reaches_the_caller(tmp_path: Path, write_shard: WriteShard) -> None:
    for number in range(2):
        write_shard(tmp_path, number, [["a"]])
    LabelledDataSet(tmp_path).ocr_path(1).unlink()
    with pytest.raises(OvocrError, match="00001.parquet: cannot be read"):
        list(map_shards(first_keys_and_process, find_shards([tmp_path]), workers=2))


def sleep_at_the_second(shard: TextShard) -> int:
    time.sleep(300 if shard.number == 1 else 0)
    return shard.number


def test_closing_the_results_stops_the_processes(tmp_path: Path, write_shard: WriteShard) -> None:
    for number in range(2):
        write_shard(tmp_path, number, [["a"]])
    start = time.monotonic()
    with closing(map_shards(sleep_at_the_second, find_shards([tmp_path]), workers=2)) as results:
        assert next(results) == 0
    assert time.monotonic() - start < 60
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_a_one_line_error(tmp_path: Path, write_shard: WriteShard) -> None:
    for number in range(3):
        write_shard(tmp_path, number, [["a"]])
    with pytest.raises(OvocrError, match="was killed"):
        list(map_shards(die_at_the_third, find_shards([tmp_path]), workers=2))
