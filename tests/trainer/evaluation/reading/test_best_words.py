"""The best classes of all tiles, against all scores of all tiles."""

import numpy as np
import pytest

from ovocr.trainer.evaluation.reading.best_words import BestWords


@pytest.mark.parametrize("k", [1, 4, 7, 30])
@pytest.mark.parametrize("batch", [1, 3, 5, 13])
def test_merging_is_the_best_of_all_scores(k: int, batch: int) -> None:
    scores = np.random.default_rng(k).permutation(13 * 20).reshape(13, 20).astype(np.float32) / 100
    best = BestWords(k)
    for first in range(0, len(scores), batch):
        part = scores[first : first + batch]
        classes = np.argsort(-part, axis=1)[:, :k]
        best.add(np.take_along_axis(part, classes, axis=1), classes)
    expected = np.argsort(-scores.max(axis=0))[:k]
    assert best.classes.tolist() == expected.tolist()
    assert best.scores.tolist() == scores.max(axis=0)[expected].tolist()
    assert best.tiles.tolist() == scores.argmax(axis=0)[expected].tolist()


def test_first_tile_wins_a_tie() -> None:
    best = BestWords(2)
    best.add(np.array([[0.5, 0.25], [0.5, 0.25]], np.float32), np.array([[3, 1], [1, 3]]))
    best.add(np.array([[0.5, 0.25]], np.float32), np.array([[3, 2]]))
    assert (best.classes.tolist(), best.tiles.tolist()) == ([3, 1], [0, 1])
