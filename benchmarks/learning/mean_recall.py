"""Recall of answers that do not come from a head, computed as in `ovocr eval`."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.evaluation.recall import RecallTally, ranks_of


def mean_recall(
    tags: Iterable[NDArray[np.int64]], answers: Iterable[NDArray[np.int64]], ks: Sequence[int]
) -> dict[int, float]:
    """Returns recall@k for each k, over blocks: distinct tags [n] of each, and its answers [>= max(ks)], best first."""
    tally = RecallTally(("all",), ks)
    for own, ranked in zip(tags, answers, strict=True):
        ranks = ranks_of(own, ranked)
        tally.add(np.zeros_like(own), ranks, ranks)
    return tally.result()["all"].recall
