"""The figures by which options can be chosen, compared with an independent count of the stored text."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab import Vocabulary, locate_words
from ovocr.vocab.coverage import Coverage, measure_coverage
from tests.manifests import make_manifest

WriteShard = Callable[..., None]
SHARES = (0.9, 0.95, 0.99)
SYLLABLES = ["a", "an", "ne", "fox", "ri", "ver", "中", "文", "年", "ひ", "물", "и", "да", "3d", "l'o"]


def rows_of(roots: list[Path]) -> list[dict[str, Any]]:
    return [
        row for root in roots for path in sorted(root.glob("ocr/*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def letters_of(word: str) -> float:
    """Returns the number of letters of a Latin or Cyrillic word; infinity for other scripts."""
    letters = [character for character in word if character.isalpha()]
    return len(letters) if all(character < "\u0530" for character in letters) else float("inf")


def count(roots: list[Path], words: list[str], slots: int) -> dict[str, Any]:
    """Counts all figures from the stored text with other code than the report's."""
    tokens: list[tuple[int, str, float]] = []  # image, word, score
    rows = rows_of(roots)
    for image, row in enumerate(rows):
        scores = [round(line["score"], 4) for line in row["lines"]]
        for word in locate_words([line["text"] for line in row["lines"]]):
            tokens.append((image, word.text, min(scores[word.line : word.line + word.lines])))
    known, frequency = set(words), Counter(word for _, word, _ in tokens)

    def keep(test: Callable[[str, float], bool]) -> tuple[int, int, int]:
        kept = [(image, word) for image, word, score in tokens if test(word, score)]
        inside = [(image, word) for image, word in kept if word in known]
        return len(kept), len(inside), len({image for image, _ in inside})

    def needed(counts: list[int], share: float) -> int | None:
        sums = [sum(counts[: size + 1]) for size in range(len(counts))]
        return next((size + 1 for size, total in enumerate(sums) if total >= share * len(tokens) - 1e-6), None)

    distinct = Counter(image for image, _ in {(image, word) for image, word, _ in tokens if word in known})
    short = {n: [word for word in frequency if letters_of(word) == n] for n in (1, 2)}
    return {
        "scores": [keep(lambda _, score, low=low: score >= low) for low in (0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)],
        "letters": [keep(lambda word, _, least=least: letters_of(word) >= least) for least in (1, 2, 3)],
        "short": [
            (len(own), sum(frequency[word] for word in own), sum(frequency[word] for word in own if word in known))
            for own in short.values()
        ],
        "sizes": [needed([frequency[word] for word in words], share) for share in SHARES],
        "best": [needed(sorted(frequency.values(), reverse=True), share) for share in SHARES],
        "beyond": (sum(n > slots for n in distinct.values()), sum(max(0, n - slots) for n in distinct.values())),
        "covered": sorted(((w, n) for w, n in frequency.items() if w in known), key=lambda e: (-e[1], e[0]))[:100],
        "tokens": len(tokens),
    }


def measured(coverage: Coverage) -> dict[str, Any]:
    """Returns the same figures from a report."""
    return {
        "scores": [(k.tokens, k.tokens_in_vocabulary, k.images) for k in coverage.line_scores.kept],
        "letters": [(k.tokens, k.tokens_in_vocabulary, k.images) for k in coverage.short_words.kept],
        "short": [(g.distinct_words, g.tokens, g.tokens_in_vocabulary) for g in coverage.short_words.groups],
        "sizes": [needed.size for needed in coverage.sizes_needed],
        "best": [needed.best for needed in coverage.sizes_needed],
        "beyond": (coverage.slot_shortage.images, coverage.slot_shortage.words),
        "covered": [(found.word, found.count) for found in coverage.covered],
        "tokens": coverage.tokens,
    }


@pytest.fixture
def roots(tmp_path: Path, write_shard: WriteShard) -> list[Path]:
    """Returns two data sets with ten slots. Lines have scores from 0.3 to 1; some words continue on the next line."""
    drawn = random.Random(5)

    def line() -> tuple[str, float]:
        words = ["".join(drawn.choices(SYLLABLES, k=drawn.randint(1, 2))) for _ in range(drawn.randint(1, 9))]
        return " ".join(words) + drawn.choice(["", "", " inter-"]), round(drawn.uniform(0.3, 1), 4)

    for shard in range(3):
        images = [[line() for _ in range(drawn.randint(0, 5))] for _ in range(40)]
        write_shard(tmp_path / "ab"[shard // 2], shard, images)
    return [tmp_path / "a", tmp_path / "b"]


def test_figures_match_an_independent_count(roots: list[Path]) -> None:
    texts = [[line["text"] for line in row["lines"]] for row in rows_of(roots)]
    frequency = Counter(word.text for lines in texts for word in locate_words(lines))
    # Every third word is missing, and the order is not that of frequency.
    words = [word for number, word in enumerate(sorted(frequency)) if number % 3]
    expected = count(roots, words, slots=10)
    coverage = measure_coverage(roots, Vocabulary(words), workers=1)
    assert measured(coverage) == expected
    assert expected["sizes"] == [None] * 3
    assert expected["scores"][0][0] > expected["scores"][3][0] > expected["scores"][6][0] > 0
    assert min(expected["beyond"]) > 0
    assert measure_coverage(roots, Vocabulary(words), workers=2) == coverage

    by_frequency = [word for word, _ in frequency.most_common()]
    expected = count(roots, by_frequency, slots=10)
    assert measured(measure_coverage(roots, Vocabulary(by_frequency), workers=1)) == expected
    assert expected["sizes"] == expected["best"]
    assert None not in expected["best"]


def test_shares_add_up(roots: list[Path]) -> None:
    coverage = measure_coverage(roots, Vocabulary(["a", "fox", "年"]), workers=1)
    bands, kept = coverage.line_scores.bands, coverage.line_scores.kept
    assert [(band.low, band.high) for band in bands[:2]] == [(0.0, 0.5), (0.5, 0.6)]
    assert bands[-1].high == 1
    assert sum(band.tokens for band in bands) == kept[0].tokens == coverage.tokens
    assert sum(band.token_share for band in bands) == pytest.approx(1)
    assert (kept[0].token_share, kept[0].image_share) == (1, 1)
    assert kept[0].token_coverage == coverage.token_coverage
    for level, each in enumerate(kept):
        assert each.tokens == sum(band.tokens for band in bands[level:])
        assert each.token_share == each.tokens / coverage.tokens
        assert each.token_coverage == each.tokens_in_vocabulary / each.tokens
        assert each.image_share == each.images / kept[0].images
    assert coverage.short_words.kept[1].tokens == coverage.tokens - coverage.short_words.groups[0].tokens


def test_a_score_equal_to_the_limit_is_kept(tmp_path: Path, write_shard: WriteShard) -> None:
    """0.7 and 0.95 are stored as float32, which is below and above them."""
    write_shard(tmp_path, 0, [[("one", 0.7), ("two", 0.95), ("three", 0.6999), ("four", 0.9499)]])
    kept = measure_coverage([tmp_path], Vocabulary(["one"]), workers=1).line_scores.kept
    assert {each.limit: each.tokens for each in kept} == {
        **{0.0: 4, 0.5: 4, 0.6: 4, 0.7: 3, 0.8: 2, 0.9: 2, 0.95: 1, 0.98: 0}
    }


def give(root: Path, **changes: Any) -> None:
    """Makes the data set one of given text."""
    manifest = make_manifest([], vocabulary=Vocabulary(["word"]), engine="given")
    replace(manifest, **changes).write(LabelledDataSet(root).manifest_path)


def test_given_text_without_scores_is_counted_apart(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "given", 0, [[("one two", 1.0)]])
    give(tmp_path / "given")
    scores = measure_coverage([tmp_path / "given"], Vocabulary(["one"]), workers=1).line_scores
    assert (scores.tokens_without_score, scores.bands, scores.kept) == (2, (), ())

    write_shard(tmp_path / "read", 0, [[("one", 1.0), ("three", 0.8)]])
    scores = measure_coverage([tmp_path / "given", tmp_path / "read"], Vocabulary(["one"]), workers=1).line_scores
    assert scores.tokens_without_score == 2
    assert [(each.limit, each.tokens) for each in scores.kept if each.limit in (0, 0.9)] == [(0, 2), (0.9, 1)]

    write_shard(tmp_path / "scored", 0, [[("one two", 0.8)]])
    give(tmp_path / "scored")
    scores = measure_coverage([tmp_path / "scored"], Vocabulary(["one"]), workers=1).line_scores
    assert (scores.tokens_without_score, scores.kept[0].tokens) == (0, 2)


def test_slots_are_those_of_each_data_set(tmp_path: Path, write_shard: WriteShard) -> None:
    words = [f"w{'x' * n}" for n in range(12)]
    for name, tags in (("a", 10), ("b", 3)):
        write_shard(tmp_path / name, 0, [[" ".join(words)], ["w w w w"]])
        manifest = make_manifest([], vocabulary=Vocabulary(["word"]), tags=tags)
        manifest.write(LabelledDataSet(tmp_path / name).manifest_path)
    shortage = measure_coverage([tmp_path / "a", tmp_path / "b"], Vocabulary(words), workers=1).slot_shortage
    assert (shortage.slots, shortage.images, shortage.image_share) == ((3, 10), 2, 0.5)
    assert (shortage.words, shortage.word_share) == (2 + 9, 11 / 26)


def test_no_words_need_no_size(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path, 0, [["12.50"], []])
    coverage = measure_coverage([tmp_path], Vocabulary(["a"]), workers=1)
    assert [(needed.size, needed.best) for needed in coverage.sizes_needed] == [(None, None)] * 3
    assert (coverage.line_scores.kept, coverage.covered) == ((), ())
