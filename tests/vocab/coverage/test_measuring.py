"""Coverage figures of small data sets, compared with counts by hand and with an independent count."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab import Vocabulary, segment_lines
from ovocr.vocab.coverage import NamedVocabulary, measure, measure_coverage
from tests.manifests import make_manifest

SIMPLIFIED = {"segmenter": {"han": "simplified"}}


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


def name_sources(root: Path, sources: list[str]) -> None:
    make_manifest(sources, vocabulary=Vocabulary(["word"])).write(LabelledDataSet(root).manifest_path)


def test_counts_match_counts_by_hand(roots: list[Path], vocabulary: Vocabulary) -> None:
    coverage = measure_coverage(roots, vocabulary, workers=1).to_json()
    # Words: hello hello international | - | - | ten words | 你好 hello zzz zzz zzz evil | zzz evil aaa | 100 words
    expected = {
        "vocabulary": "vocabulary",
        "vocabulary_size": 115,
        "vocabulary_sha256": vocabulary.sha256,
        "images": 7,
        "images_without_text": 1,
        "images_without_any_word": 1,
        "images_outside_vocabulary": 1,
        "images_without_words": 3,
        "images_by_words": {"0": 3, "1-9": 2, "10-99": 1, "100+": 1},
        "words_per_image": {
            "mean": (2 + 10 + 2 + 100) / 7,
            "percentiles": {"5": 0, "25": 0, "50": 2, "75": 10, "95": 100, "100": 100},
            "histogram": {
                **{"0": 3, "1": 0, "2-4": 2, "5-9": 0, "10-19": 1},
                **{"20-49": 0, "50-99": 0, "100-199": 1, "200+": 0},
            },
        },
        "tokens": 122,
        "tokens_in_vocabulary": 115,
        "token_coverage": 115 / 122,
        "distinct_words": 116,
        "distinct_in_vocabulary": 113,
        "distinct_coverage": 113 / 116,
        "class_frequency": [
            {"band": "0", "classes_by_tokens": 2, "classes_by_images": 2},
            {"band": "1", "classes_by_tokens": 112, "classes_by_images": 112},
            {"band": "2-9", "classes_by_tokens": 1, "classes_by_images": 1},
        ],
        "left_out": [
            {"word": "zzz", "count": 4, "images": 2, "data_set": str(roots[0]), "example": "0.jpg"},
            {"word": "evil", "count": 2, "images": 2, "data_set": str(roots[0]), "example": "0.jpg"},
            {"word": "aaa", "count": 1, "images": 1, "data_set": str(roots[1]), "example": "0.jpg"},
        ],
    }
    assert {name: coverage[name] for name in expected} == expected
    assert json.loads(json.dumps(coverage)) == coverage


def test_coverage_by_size_and_its_maximum(roots: list[Path], vocabulary: Vocabulary) -> None:
    points = measure_coverage(roots, vocabulary, workers=1).by_size
    assert [point.size for point in points] == [1, 2, 5, 10, 20, 50, 100, 115]
    # hello (3 times), international, 你好, two words that do not occur, then words with one token.
    assert [round(122 * point.token_coverage) for point in points] == [3, 4, 5, 10, 20, 50, 100, 115]
    # zzz (4), hello (3), evil (2), then words with one token.
    assert [round(122 * point.best) for point in points] == [4, 7, 11, 16, 26, 56, 106, 121]


def test_coverage_by_script(roots: list[Path], vocabulary: Vocabulary) -> None:
    latin, han = measure_coverage(roots, vocabulary, workers=1).to_json()["scripts"]
    assert latin == {
        "script": "Latin",
        "tokens": 121,
        "token_share": 121 / 122,
        "tokens_in_vocabulary": 114,
        "token_coverage": 114 / 121,
        "distinct_words": 115,
        "distinct_in_vocabulary": 112,
    }
    assert (han["script"], han["tokens"], han["token_coverage"], han["distinct_words"]) == ("Han", 1, 1.0, 1)


def test_coverage_by_data_set_and_source(roots: list[Path], vocabulary: Vocabulary) -> None:
    name_sources(roots[0], ["x.tar", "y.tar", "z.tar", "w.tar"])
    first, second = measure_coverage(roots, vocabulary, workers=1).data_sets
    assert (first.name, first.shards, first.images, first.images_without_words) == (str(roots[0]), 2, 5, 2)
    assert (first.tokens, first.tokens_in_vocabulary, first.token_coverage) == (19, 15, 15 / 19)
    assert [(part.name, part.images, part.tokens, part.tokens_in_vocabulary) for part in first.parts] == [
        ("x.tar", 4, 13, 13),
        ("z.tar", 1, 6, 2),
    ]
    assert (second.name, second.tokens, second.tokens_in_vocabulary, second.parts) == (str(roots[1]), 103, 100, ())


def test_parts_of_a_data_set_with_one_source_are_its_shards(roots: list[Path], vocabulary: Vocabulary) -> None:
    name_sources(roots[0], ["folder"] * 4)
    parts = measure_coverage(roots, vocabulary, workers=1).data_sets[0].parts
    assert [part.name for part in parts] == ["shard 0", "shard 2"]


def test_coverage_does_not_depend_on_workers(roots: list[Path], vocabulary: Vocabulary) -> None:
    alone = measure_coverage(roots, vocabulary, workers=1)
    assert measure_coverage(roots, vocabulary, workers=2) == alone


def test_stored_tags_are_counted_by_text_height(roots: list[Path], vocabulary: Vocabulary) -> None:
    """The tags are those of the data sets, whatever the vocabulary. Lines have 8, 16 and 24 pixels of 448."""
    named = [NamedVocabulary(name="v", vocabulary=vocabulary), NamedVocabulary(name="o", vocabulary=Vocabulary(["a"]))]
    found = measure(roots, named[:1], workers=1).to_json()["legibility"]
    first, second = found.pop("data_sets")
    assert [(own["name"], own["images"], own["tags"]) for own in (first, second)] == [
        (str(roots[0]), 4, 7),
        (str(roots[1]), 2, 2),
    ]
    assert (found["images"], found["tags"], found["tags_of_unknown_height"]) == (6, 9, 0)
    by_size = {figures["image_size"]: figures["legible"] for figures in found["by_size"]}
    assert by_size[224] == {"8": 3, "10": 1, "12": 1}  # 4 x 6, 8 x 2, 12 x 1
    assert by_size[448] == {"8": 9, "10": 3, "12": 3}
    assert by_size[336] == {"8": 3, "10": 3, "12": 3}
    for figures, *parts in zip(found["by_size"], first["by_size"], second["by_size"], strict=True):
        crops = figures["text_crops"]
        assert (crops["images"], crops["tags_shown"]) == (6, 9)
        assert crops["legible"]["10"] == sum(part["text_crops"]["legible"]["10"] for part in parts) > 3
    both = measure(roots, named, workers=2).to_json()
    assert both["legibility"] == {**found, "data_sets": [first, second]}
    assert "legibility" not in both["vocabularies"][0]


def test_damaged_records_are_refused(roots: list[Path], vocabulary: Vocabulary) -> None:
    path = LabelledDataSet(roots[0]).records_path(2)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OvocrError, match=f"{path}: cannot be read: .*; restore the file"):
        measure_coverage(roots, vocabulary, workers=1)


def test_left_out_lists_the_hundred_most_frequent_words(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    words = [f"w{n}" for n in range(250)]
    write_shard(tmp_path, 0, [[word] * (1 + number % 5) for number, word in enumerate(words)])
    left_out = measure_coverage([tmp_path], Vocabulary(["other"]), workers=1).left_out
    expected = sorted(((word, 1 + number % 5) for number, word in enumerate(words)), key=lambda e: (-e[1], e[0]))
    assert [(found.word, found.count) for found in left_out] == expected[:100]


def test_empty_data_set_has_zero_coverage(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write_shard(tmp_path, 0, [])
    coverage = measure_coverage([tmp_path], Vocabulary(["a"]), workers=1)
    assert (coverage.images, coverage.tokens, coverage.token_coverage, coverage.distinct_coverage) == (0, 0, 0.0, 0.0)
    assert (coverage.rank_frequency, coverage.scripts, coverage.left_out) == ((), (), ())


def count_independently(roots: list[Path], words: list[str]) -> dict[str, Any]:
    """Returns figures of the report, counted from the stored text with other code."""
    rows = [
        row for root in roots for path in sorted(root.glob("ocr/*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    words_of_images = [segment_lines([line["text"] for line in row["lines"]]) for row in rows]
    tokens = Counter(word for of_image in words_of_images for word in of_image)
    distinct = [len(set(of_image) & set(words)) for of_image in words_of_images]
    frequent = sorted(tokens.values(), reverse=True)
    classes = [tokens[word] for word in words]
    return {
        "images": len(rows),
        "images_without_text": sum(not row["lines"] for row in rows),
        "images_without_words": distinct.count(0),
        "images_without_any_word": sum(
            not of_image and bool(row["lines"]) for of_image, row in zip(words_of_images, rows, strict=True)
        ),
        "tokens": sum(frequent),
        "tokens_in_vocabulary": sum(classes),
        "distinct_words": len(tokens),
        "distinct_in_vocabulary": sum(count > 0 for count in classes),
        "mean": sum(distinct) / len(distinct),
        "median": sorted(distinct)[(len(distinct) - 1) // 2],
        "tagged": sum(count >= 10 for count in distinct),
        "first_5": sum(classes[:5]) / sum(frequent),
        "best_5": sum(frequent[:5]) / sum(frequent),
        "never": classes.count(0),
        "top": max(classes),
        "most_left_out": max(count for word, count in tokens.items() if word not in words),
    }


def test_figures_match_an_independent_count(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [first + second for first in letters for second in letters]
    for shard in range(3):
        images = [
            [" ".join(words[(n * n * 7 + shard * 31 + k * k) % 676] for k in range(n % 23)), "12.50 €"][: n % 3]
            for n in range(41)
        ]
        write_shard(tmp_path / str(shard // 2), shard, images)
    roots = [tmp_path / "0", tmp_path / "1"]
    known = words[::3]
    expected = count_independently(roots, known)
    coverage = measure_coverage(roots, Vocabulary(known), workers=1)
    measured = {
        **{name: getattr(coverage, name) for name in expected if hasattr(coverage, name)},
        "mean": coverage.words_per_image.mean,
        "median": coverage.words_per_image.percentiles["50"],
        "tagged": coverage.images_by_words["10-99"] + coverage.images_by_words["100+"],
        "first_5": next(point.token_coverage for point in coverage.by_size if point.size == 5),
        "best_5": next(point.best for point in coverage.by_size if point.size == 5),
        "never": coverage.class_frequency[0].classes_by_tokens,
        "top": coverage.rank_frequency[0].tokens,
        "most_left_out": coverage.left_out[0].count,
    }
    assert measured == expected
    assert expected["images"] == 123
    assert expected["tokens"] > expected["tokens_in_vocabulary"] > 100
    assert min(expected["images_without_text"], expected["images_without_any_word"], expected["tagged"]) > 0


def test_measure_compares_two_vocabularies(roots: list[Path], vocabulary: Vocabulary) -> None:
    other = Vocabulary(["zzz", "hello", "evil", "nowhere"])
    named = [NamedVocabulary(name="v", vocabulary=vocabulary), NamedVocabulary(name="o", vocabulary=other)]
    report = measure(roots, named, workers=1, look_up=3)
    figures = report.to_json()
    assert [each["token_coverage"] for each in figures["vocabularies"]] == [115 / 122, 9 / 122]
    alone = measure_coverage(roots, vocabulary, workers=1).to_json()
    assert figures["vocabularies"][0] == {**alone, "vocabulary": "v"}
    comparison = figures["comparison"]
    assert (comparison["same_segmentation"], comparison["shared_classes"]) == (True, 1)
    only_first, only_second = comparison["differences"]
    assert (only_first["vocabulary"], only_first["classes"], only_first["words"], only_first["tokens"]) == (
        *("v", 114, 112, 112),
    )
    assert {**only_second, "listed": [(word["word"], word["count"]) for word in only_second["listed"]]} == {
        "vocabulary": "o",
        "classes": 3,
        "words": 2,
        "tokens": 6,
        "listed": [("zzz", 4), ("evil", 2)],
    }
    (frequent,) = report.frequent  # the text is read once
    assert [found.word for found in frequent.words[:3]] == ["zzz", "hello", "evil"]
    assert list(frequent.ranks[:4]) == [1, 2, 3, None]
    assert (frequent.distinct_words, frequent.tokens) == (116, 122)
    listed = {word["word"] for difference in comparison["differences"] for word in difference["listed"]}
    assert listed <= {found.word for found in frequent.words}


def test_each_vocabulary_uses_its_own_segmentation(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write_shard(tmp_path, 0, [["乾淨", "干净"]])
    named = [
        NamedVocabulary(name="read", vocabulary=Vocabulary(["乾淨"])),
        NamedVocabulary(name="folded", vocabulary=Vocabulary(["干净"], SIMPLIFIED)),
    ]
    report = measure([tmp_path], named, workers=1, look_up=9)
    assert [each.token_coverage for each in report.coverages] == [0.5, 1.0]
    assert [each.distinct_words for each in report.coverages] == [2, 1]
    assert [each.segmentation.get("han") for each in report.coverages] == [None, "simplified"]
    assert [[found.word for found in frequent.words] for frequent in report.frequent] == [["乾淨", "干净"], ["干净"]]
    assert report.comparison is not None
    assert not report.comparison.same_segmentation
    assert [difference.tokens for difference in report.comparison.differences] == [1, 2]


def test_measure_refuses_equal_vocabularies_and_more_than_two(roots: list[Path], vocabulary: Vocabulary) -> None:
    named = NamedVocabulary(name="v", vocabulary=vocabulary)
    with pytest.raises(UsageError, match="--vocab w: the same vocabulary as v"):
        measure(roots, [named, NamedVocabulary(name="w", vocabulary=vocabulary)])
    with pytest.raises(UsageError, match="--vocab: 3 vocabularies"):
        measure(roots, [named, named, named])
