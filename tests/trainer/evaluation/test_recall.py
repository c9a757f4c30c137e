"""Recall@k and its groups by hand and against plain sets; the prior."""

import numpy as np
import pytest

from ovocr.trainer.evaluation.recall import (
    NOT_FOUND,
    GroupRecall,
    RecallTally,
    most_frequent_tags,
    ranks_of,
)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_recall_by_hand() -> None:
    tally = RecallTally(["a", "b", "c"], [1, 2])
    # Three tags: two of group a, at rank 1 and not found, and one of b at rank 0; the prior has the second tag only.
    tally.add(numbers(0, 0, 1), numbers(1, NOT_FOUND, 0), numbers(NOT_FOUND, 0, NOT_FOUND))
    # One tag, of group a, at rank 0; the prior has it at rank 1.
    tally.add(numbers(0), numbers(0), numbers(1))
    assert tally.result() == {
        "a": GroupRecall(2, 3, {1: (0 / 1 + 1) / 2, 2: (1 / 2 + 1) / 2}, {1: (1 + 0) / 2, 2: (1 / 2 + 1) / 2}),
        "b": GroupRecall(1, 1, {1: 1.0, 2: 1.0}, {1: 0.0, 2: 0.0}),
    }


def test_ranks_by_hand() -> None:
    assert ranks_of(numbers(3, 9, 4), numbers(4, 7, 3)).tolist() == [2, NOT_FOUND, 0]
    assert ranks_of(numbers(3), numbers()).tolist() == [NOT_FOUND]


@pytest.mark.parametrize("ks", [(1,), (1, 10, 100), (3, 7)])
def test_recall_matches_plain_sets(ks: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, 60)
    tally, sums = RecallTally("abcd", ks), {(group, k): [] for group in range(4) for k in ks}
    for _ in range(50):
        tags, answers = (rng.permutation(60)[: rng.integers(1, 40)] for _ in range(2))
        tally.add(groups[tags], ranks_of(tags, answers), ranks_of(tags, np.arange(max(ks))))
        for (group, k), recalls in sums.items():
            own = {int(tag) for tag in tags if groups[tag] == group}
            if own:
                recalls.append(len(own & set(answers[:k].tolist())) / min(k, len(own)))
    for group, name in enumerate("abcd"):
        for k in ks:
            assert tally.result()[name].recall[k] == pytest.approx(np.mean(sums[group, k]))


def test_prior_is_the_most_frequent_tags() -> None:
    counts = numbers(1, 4, 0, 4, 2)
    assert most_frequent_tags(counts, 3).tolist() == [1, 3, 4]  # a tie: the lower id
    assert most_frequent_tags(counts, 10).tolist() == [1, 3, 4, 0]  # never a tag that no image has
