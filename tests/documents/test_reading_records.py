"""The queries and scripts of docs/reading_records.md give what the files of the data set have."""

import re
import sys
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from ovocr.recordio import RecordReader
from ovocr.vocab import Vocabulary
from tests.documents.blocks import blocks
from tests.documents.conftest import execute

DOCUMENT = "docs/reading_records.md"
QUERIES = [block.text for block in blocks(DOCUMENT) if block.language == "sql"]
(LOADER,) = (block.text for block in blocks(DOCUMENT) if "DataLoader" in block.text)


@pytest.fixture(scope="module")
def answers(prepared: Path) -> list[list[tuple]]:
    """Returns the rows that each query of the page gives."""
    with duckdb.connect() as database:
        database.execute(f"SET file_search_path = '{prepared}'")
        return [database.sql(query).fetchall() for query in QUERIES]


@pytest.fixture(scope="module")
def rows(prepared: Path) -> list[dict]:
    """Returns the rows of `records`."""
    return pq.read_table(prepared / "labels" / "records").to_pylist()


def test_images_by_status_and_reason(answers: list[list[tuple]], rows: list[dict]) -> None:
    assert answers[0] == [("ok", None, len(rows))]


def test_lines_of_low_score(answers: list[list[tuple]], prepared: Path) -> None:
    text = pq.read_table(prepared / "labels" / "ocr").to_pylist()
    low = [line["score"] for row in text for line in row["lines"] if line["score"] < 0.999]
    assert low
    assert [score for _, _, score in answers[1]] == sorted(low)[:20]


def test_frequent_words(answers: list[list[tuple]], rows: list[dict], prepared: Path) -> None:
    words = Vocabulary.load(prepared / "labels" / "vocab.txt")
    images = Counter(words.word(id) for row in rows for id in {tag["id"] for tag in row["tags"]})
    places = Counter(words.word(tag["id"]) for row in rows for tag in row["tags"])
    ranked = sorted(images, key=lambda word: (-images[word], -places[word], word))
    assert answers[2] == [(word, images[word], places[word]) for word in ranked[:10]]


def test_images_with_a_word(answers: list[list[tuple]], prepared: Path) -> None:
    id = Vocabulary.load(prepared / "labels" / "vocab.txt").id("harbour")
    assert len(answers[3]) == 1
    for shard, record_id, _ in answers[3]:
        assert id in RecordReader(prepared / "labels" / "rec" / shard).by_id(record_id).labels


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_the_loader_runs_with_every_kind_of_worker(start: str, prepared: Path, tmp_path: Path) -> None:
    script = LOADER.replace('multiprocessing_context="spawn"', f'multiprocessing_context="{start}"')
    (tmp_path / "loader.py").write_text(script.replace("labels/", f"{prepared}/labels/"))
    printed = execute(tmp_path, f"{sys.executable} loader.py")
    words = Vocabulary.load(prepared / "labels" / "vocab.txt")
    tags = [sorted({int(id) for id in record.labels}) for record in RecordReader(prepared / "labels" / "rec" / "00000")]
    expected = sorted(str([words.word(id) for id in ids]) for ids in tags)
    assert sorted(re.findall(r"\[.*\]", printed)) == expected
