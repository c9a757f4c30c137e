"""Curves and histograms of a coverage report."""

import numpy as np
import pytest

from ovocr.vocab.coverage.curves import (
    class_frequency,
    image_classes,
    rank_frequency,
    size_curve,
    sizes_up_to,
    words_per_image,
)


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        (1, [1]),
        (2, [1, 2]),
        (7, [1, 2, 5, 7]),
        (10, [1, 2, 5, 10]),
        (365187, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 365187]),
    ],
)
def test_sizes_up_to(limit: int, sizes: list[int]) -> None:
    assert sizes_up_to(limit) == sizes


def test_size_curve_matches_sorted_sums() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        corpus = generator.zipf(1.5, 300)  # tokens of each word of the corpus
        known = generator.permutation(corpus)[: generator.integers(1, 300)]
        classes = generator.permutation(np.concatenate([known, np.zeros(generator.integers(0, 400), np.int64)]))
        by_tokens = dict(zip(*(values.tolist() for values in np.unique(corpus, return_counts=True)), strict=True))
        frequent = np.sort(corpus)[::-1]
        for point in size_curve(classes, by_tokens, int(corpus.sum())):
            assert point.token_coverage == pytest.approx(classes[: point.size].sum() / corpus.sum())
            assert point.best == pytest.approx(frequent[: point.size].sum() / corpus.sum())
            assert point.token_coverage <= point.best


def test_rank_frequency_has_log_spaced_ranks_from_first_to_last() -> None:
    tokens = np.concatenate([np.arange(2000), np.zeros(5, np.int64)])
    images = np.minimum(tokens, 7)
    points = rank_frequency(tokens, images)
    assert [point.rank for point in points[:8]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (points[-1].rank, points[-1].tokens, points[-1].images) == (1999, 1, 1)
    assert len(points) < 45
    assert all(point.tokens == 2000 - point.rank for point in points)


def test_class_frequency() -> None:
    tokens = np.array([0, 0, 0, 1, 2, 9, 10, 99, 100, 1234])
    images = np.array([0, 0, 0, 1, 1, 1, 9, 10, 10, 100])
    bands = class_frequency(tokens, images)
    assert [(band.band, band.classes_by_tokens, band.classes_by_images) for band in bands] == [
        ("0", 3, 3),
        ("1", 1, 3),
        ("2-9", 2, 1),
        ("10-99", 2, 2),
        ("100-999", 1, 1),
        ("1000-9999", 1, 0),
    ]


def test_words_per_image_and_image_classes() -> None:
    images = {0: 5, 1: 1, 4: 1, 99: 2, 1000: 1}
    figures = words_per_image(images)
    assert figures.mean == (1 + 4 + 198 + 1000) / 10
    assert figures.percentiles == {"5": 0, "25": 0, "50": 0, "75": 99, "95": 1000, "100": 1000}
    assert {name: count for name, count in figures.histogram.items() if count} == (
        {"0": 5, "1": 1, "2-4": 1, "50-99": 2, "200+": 1}
    )
    assert image_classes(images) == {"0": 5, "1-9": 2, "10-99": 2, "100+": 1}
    assert words_per_image({}).percentiles["50"] == 0
