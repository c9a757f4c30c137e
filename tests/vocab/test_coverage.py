"""The coverage report against counts made by hand, on a data set written here."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.vocab import Vocabulary
from ovocr.vocab.coverage import measure_coverage


@pytest.fixture
def roots(tmp_path: Path, write_shard: Callable[..., None]) -> list[Path]:
    ten_words = "one two three four five six seven eight nine ten"
    write_shard(tmp_path / "a", 0, [["Hello hello", "inter-", "national 12.50"], [], ["$5.00"], [ten_words]])
    write_shard(tmp_path / "a", 2, [["你好 HELLO zzz zzz", "zzz \u202eevil"]])
    write_shard(tmp_path / "a", 3, [["never counted"]], finished=False)
    write_shard(tmp_path / "b", 0, [["zzz evil aaa"], [" ".join(f"x{'i' * n}" for n in range(100))]])
    return [tmp_path / "a", tmp_path / "b"]


@pytest.fixture
def vocabulary() -> Vocabulary:
    numerals = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return Vocabulary(
        ["hello", "international", "你好", "never", "unseen", *numerals, *(f"x{'i' * n}" for n in range(100))]
    )


def test_counts(roots: list[Path], vocabulary: Vocabulary) -> None:
    coverage = measure_coverage(roots, vocabulary).to_json()
    # Words: hello hello international | - | - | ten words | 你好 hello zzz zzz zzz evil | zzz evil aaa | 100 words
    assert coverage == {
        "vocabulary_size": 115,
        "vocabulary_sha256": vocabulary.sha256,
        "images": 7,
        "images_without_text": 1,
        "images_without_words": 3,
        "images_by_words": {"0": 3, "1-9": 2, "10-99": 1, "100+": 1},
        "tokens": 122,
        "tokens_in_vocabulary": 115,
        "token_coverage": 115 / 122,
        "distinct_words": 116,
        "distinct_in_vocabulary": 113,
        "distinct_coverage": 113 / 116,
        "left_out": [{"word": "zzz", "count": 4}, {"word": "evil", "count": 2}, {"word": "aaa", "count": 1}],
    }
    assert json.loads(json.dumps(coverage)) == coverage


def test_table(roots: list[Path], vocabulary: Vocabulary) -> None:
    assert measure_coverage(roots, vocabulary).format_table() == "\n".join(
        [
            "images                                       7",
            "  without text                               1   14.3%",
            "  with 0 words in vocabulary                 3   42.9%",
            "  with 1-9 words in vocabulary               2   28.6%",
            "  with 10-99 words in vocabulary             1   14.3%",
            "  with 100+ words in vocabulary              1   14.3%",
            "words                                      122",
            "  in vocabulary                            115   94.3%",
            "distinct words                             116",
            "  in vocabulary                            113   97.4%",
            "vocabulary                                 115",
            "  found in these images                    113   98.3%",
            "most frequent words left out",
            "           4  zzz",
            "           2  evil",
            "           1  aaa",
        ]
    )


def test_left_out_words_are_the_most_frequent_twenty(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    words = [f"zq{chr(97 + n)}" for n in range(25)]
    write_shard(tmp_path, 0, [[word] * (1 + number % 5) for number, word in enumerate(words)])
    left_out = measure_coverage([tmp_path], Vocabulary(["other"])).left_out
    expected = sorted(((word, 1 + number % 5) for number, word in enumerate(words)), key=lambda e: (-e[1], e[0]))
    assert left_out == tuple(expected[:20])


def test_nothing_was_read(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write_shard(tmp_path, 0, [])
    coverage = measure_coverage([tmp_path], Vocabulary(["a"]))
    assert (coverage.images, coverage.tokens, coverage.token_coverage, coverage.distinct_coverage) == (0, 0, 0.0, 0.0)
    assert "left out" not in coverage.format_table()
