"""Merging of word counts, compared with a Counter, including within little memory."""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.vocab.count_merging import LEAST_MEMORY, fetch_rows, merged_counts
from ovocr.vocab.counting import COUNTS

Rows = list[tuple[str, int, int, str]]
# UTF-16 code units would sort the last before the third.
ORDERED = ["'; DROP TABLE words; --", "a", "\uff21", "\U00020000"]


def write(path: Path, rows: Rows) -> Path:
    columns = [list(column) for column in zip(*sorted(rows), strict=True)] if rows else [[]] * 4
    pq.write_table(pa.table(columns, schema=COUNTS), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "merging"
    path.mkdir()
    return path


def test_merges_counts_and_takes_the_first_shards_example(tmp_path: Path, folder: Path) -> None:
    files = [
        write(tmp_path / "z.parquet", [("a", 2, 1, "z1"), ("b", 1, 1, "z2")]),
        write(tmp_path / "empty.parquet", []),
        write(tmp_path / "y.parquet", [("a", 5, 3, "a1"), ("c", 4, 2, "a2")]),
        write(tmp_path / "x.parquet", [("c", 1, 1, "a0")]),
    ]
    with merged_counts(files, folder, examples=True) as connection:
        rows = connection.execute("SELECT word, tokens, images, shard, example FROM words ORDER BY word").fetchall()
    assert rows == [("a", 7, 4, 0, "z1"), ("b", 1, 1, 0, "z2"), ("c", 5, 3, 2, "a2")]


def test_paths_are_not_glob_patterns(tmp_path: Path, folder: Path) -> None:
    for name in ("[b]*", "a"):
        (tmp_path / name).mkdir()
    files = [write(tmp_path / name / "0?.parquet", [("w", 1, 1, name)]) for name in ("[b]*", "a")]
    with merged_counts(files, folder, examples=True) as connection:
        assert connection.execute("SELECT shard, example FROM words").fetchall() == [(0, "[b]*")]


def test_hostile_words_are_data_and_sort_by_bytes(tmp_path: Path, folder: Path) -> None:
    files = [write(tmp_path / f"{n}'.parquet", [(word, 1, 1, "k") for word in ORDERED]) for n in range(2)]
    with merged_counts(files, folder) as connection:
        rows = connection.execute("SELECT * FROM words ORDER BY word").fetchall()
    assert rows == [(word, 2, 2) for word in ORDERED]
    assert sorted(ORDERED, key=str.encode) == ORDERED


def most_bytes_in(folder: Path, done: threading.Event) -> int:
    most = 0
    while not done.wait(0.005):
        with suppress(FileNotFoundError):
            most = max(most, sum(path.stat().st_size for path in folder.iterdir()))
    return most


@pytest.mark.slow
@pytest.mark.parametrize("examples", [False, True])
def test_words_beyond_the_memory_limit_are_spilled(tmp_path: Path, folder: Path, examples: bool) -> None:
    drawn = random.Random(0)
    expected: Counter[str] = Counter()
    first: dict[str, tuple[int, str]] = {}
    files = []
    for shard in range(4):
        rows = [
            (f"{number:06d}{'x' * 594}", 1 + number % 9, 1, f"{shard}/{number}")
            for number in drawn.sample(range(300_000), 120_000)
        ]
        expected.update({word: tokens for word, tokens, _, _ in rows})
        first = {word: (shard, example) for word, _, _, example in rows} | first
        files.append(write(tmp_path / f"{shard}.parquet", rows))
    assert sum(map(len, expected)) > 1.5 * LEAST_MEMORY
    done = threading.Event()
    with ThreadPoolExecutor(1) as watcher:
        spilled = watcher.submit(most_bytes_in, folder / "spilled", done)
        try:
            with merged_counts(files, folder, memory=LEAST_MEMORY, examples=examples) as connection:
                columns = "word, tokens, shard, example" if examples else "word, tokens"
                rows = connection.execute(f"SELECT {columns} FROM words").fetchall()
        finally:
            done.set()
    assert spilled.result() > 10**6
    assert {row[0]: row[1] for row in rows} == expected
    assert len(rows) == len(expected)
    if examples:
        assert {row[0]: row[2:] for row in rows} == first


def test_too_little_memory_is_a_one_line_error(tmp_path: Path, folder: Path) -> None:
    files = [write(tmp_path / "0.parquet", [(f"{n}{'x' * 200}", 1, 1, "k") for n in range(100_000)])]
    wanted = pytest.raises(OvocrError, match=r"merging the word counts failed: .*; allow more memory than 1 MB")
    with wanted as caught, merged_counts(files, folder, memory=10**6):
        pass
    assert "\n" not in str(caught.value)


def test_ctrl_c_interrupts_a_query(tmp_path: Path, folder: Path) -> None:
    files = [write(tmp_path / "0.parquet", [("a", 1, 1, "k")])]
    with merged_counts(files, folder) as connection:
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        start = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            fetch_rows(
                connection, "SELECT count(*) FROM range(1_000_000) a, range(10_000_000) b WHERE a.range > b.range"
            )
        assert 0.5 <= time.monotonic() - start < 20
        assert fetch_rows(connection, "SELECT word FROM words WHERE tokens = ?", [1]) == [("a",)]


def test_missing_duckdb_names_the_extra(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[vocab\]'"), merged_counts([], folder):
        pass
    assert os.listdir(folder) == []
