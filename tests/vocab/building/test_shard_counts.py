"""Counting of shards: sums, and new files at the memory limit."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.text import TextShard, find_shards
from ovocr.vocab import Segmentation
from ovocr.vocab.building.shard_counts import CountedShards, ShardCounter, count_shards

IMAGES = [["b a a"], [], ["c 12"], ["b d", "b"], ["e"]]


@pytest.mark.parametrize(("most_words", "files"), [(100, 1), (3, 2), (1, 4)])
def test_counter_writes_one_or_several_files_per_shard(
    tmp_path: Path, write_shard: Callable[..., None], most_words: int, files: int
) -> None:
    write_shard(tmp_path / "a", 7, IMAGES)
    counter = ShardCounter(folder=tmp_path, roots=(tmp_path / "a",), segmentation=Segmentation(), most_words=most_words)
    counted = counter(TextShard(tmp_path / "a", 7))
    assert counted.files == tuple(tmp_path / f"0-00007-{part}.parquet" for part in range(files))
    assert (counted.images, counted.images_without_text, counted.tokens) == (5, 1, 8)
    tokens, images = Counter[str](), Counter[str]()
    for path in counted.files:
        rows = pq.read_table(path).to_pylist()
        assert [row["word"] for row in rows] == sorted({row["word"] for row in rows})
        tokens.update({row["word"]: row["tokens"] for row in rows})
        images.update({row["word"]: row["images"] for row in rows})
    assert tokens == {"a": 2, "b": 3, "c": 1, "d": 1, "e": 1}
    assert images == {"a": 1, "b": 2, "c": 1, "d": 1, "e": 1}


def test_counter_reports_a_folder_that_cannot_be_written(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write_shard(tmp_path / "a", 0, IMAGES)
    counter = ShardCounter(folder=tmp_path / "gone", roots=(tmp_path / "a",), segmentation=Segmentation(), most_words=9)
    with pytest.raises(OvocrError, match="gone: word counts cannot be written: .*; the disk may be full"):
        counter(TextShard(tmp_path / "a", 0))


def test_shards_with_the_same_number_have_separate_files(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    for name in "ab":
        write_shard(tmp_path / name, 0, IMAGES)
    shards = find_shards([tmp_path / "a", tmp_path / "b"])
    counted = count_shards(shards, tmp_path, Segmentation(), workers=1, memory=10**8, progress=False)
    assert counted == CountedShards(
        images=10,
        images_without_text=2,
        tokens=16,
        files=(tmp_path / "0-00000-0.parquet", tmp_path / "1-00000-0.parquet"),
    )
