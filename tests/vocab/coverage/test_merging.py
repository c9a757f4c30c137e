"""Merging of word counts in memory and with DuckDB."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.base.errors import MissingExtraError
from ovocr.dataset.text import ImageText
from ovocr.vocab import Segmentation
from ovocr.vocab.counting import WordCounts
from ovocr.vocab.coverage import merging
from ovocr.vocab.coverage.corpus_words import CorpusWord, TopWords
from ovocr.vocab.coverage.merging import merge_words

SHARDS = [
    [ImageText("a.jpg", ["one two two"])],
    [],
    [ImageText("b.jpg", ["two 三"]), ImageText("c'\"?*.jpg", ["three two"])],
]
MERGED = [
    CorpusWord("one", 1, 1, 0, "a.jpg"),
    CorpusWord("three", 1, 1, 2, "c'\"?*.jpg"),
    CorpusWord("two", 4, 3, 0, "a.jpg"),
    CorpusWord("三", 1, 1, 2, "b.jpg"),
]


@pytest.fixture
def files(tmp_path: Path, count_words: Callable[..., WordCounts]) -> list[Path]:
    paths = [tmp_path / f"{10 - number}-x.parquet" for number in range(len(SHARDS))]  # not in the order of names
    for path, images in zip(paths, SHARDS, strict=True):
        count_words(images, Segmentation()).write(path)
    return paths


def test_merges_in_memory(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "ROWS_IN_MEMORY", 5)  # the number of rows
    assert sorted(merge_words(files, tmp_path / "scratch")) == MERGED
    assert not (tmp_path / "scratch").exists()


def test_merges_with_duckdb(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.setattr(merging, "ROWS_IN_MEMORY", 4)  # one less than the number of rows
    assert sorted(merge_words(files, tmp_path / "scratch")) == MERGED
    assert (tmp_path / "scratch").is_dir()


def test_merging_beyond_memory_needs_duckdb(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "ROWS_IN_MEMORY", 4)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[vocab\]'"):
        list(merge_words(files, tmp_path / "scratch"))


@pytest.mark.parametrize("limit", [0, 1, 7, 100, 1000])
def test_top_words_are_the_most_frequent(limit: int) -> None:
    words = [CorpusWord(f"w{number}", (number * 37) % 50, 1, 0, "") for number in range(500)]
    top = TopWords(limit)
    for word in words:
        top.add(word)
    assert list(top.words()) == sorted(words, key=lambda word: (-word.tokens, word.word))[:limit]
