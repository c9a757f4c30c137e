"""Recall of answers that no head gave, measured as `ovocr eval` measures a head's."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.evaluation.recall import RecallTally, ranks_of


def mean_recall(
    tags: Iterable[NDArray[np.int64]], answers: Iterable[NDArray[np.int64]], ks: Sequence[int]
) -> dict[int, float]:
    """recall@k for each k, over blocks: the distinct tags [n] of each, and answers to it [>= max(ks)], best first."""
    tally = RecallTally(("all",), ks)
    for own, ranked in zip(tags, answers, strict=True):
        ranks = ranks_of(own, ranked)
        tally.add(np.zeros_like(own), ranks, ranks)
    return tally.result()["all"].recall
