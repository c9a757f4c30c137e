"""Recall@k over images, for all tags and for groups of tags (by script, or by frequency in the training data).

    recall@k          = mean over images                      of |top-k ∩ tags|      / min(k, |tags|)
    recall@k of group = mean over images with tags of a group of |top-k ∩ its tags|  / min(k, |its tags|)

tags: an image's distinct tags. top-k: the first k answers among all classes, even for a group, so a group is not easier
    because it has fewer classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOT_FOUND = np.iinfo(np.int64).max
"""Rank of a tag that is not among the answers."""


@dataclass(frozen=True)
class GroupRecall:
    """Recall of the tags of one group.

    images: number of images with tags of the group.
    pairs: number of pairs of an image and a distinct tag of the group.
    recall: recall of the encoder for each k.
    prior: recall for each k of always answering the most frequent training tags.
    """

    images: int
    pairs: int
    recall: dict[int, float]
    prior: dict[int, float]


class RecallTally:
    """Accumulates recall image by image, for groups numbered by their index in ``names``."""

    def __init__(self, names: Sequence[str], ks: Sequence[int]) -> None:
        self._names, self._ks = tuple(names), tuple(ks)
        self._images = np.zeros(len(names), np.int64)
        self._pairs = np.zeros(len(names), np.int64)
        self._sums = np.zeros((2, len(ks), len(names)))

    def add(self, groups: NDArray[np.int64], ranks: NDArray[np.int64], prior_ranks: NDArray[np.int64]) -> None:
        """Adds an image: the group of each distinct tag, and its ranks among the answers and the prior."""
        sizes = np.bincount(groups, minlength=len(self._names))
        present = sizes > 0
        self._images += present
        self._pairs += sizes
        for sums, of_answers in zip(self._sums, (ranks, prior_ranks), strict=True):
            for row, k in zip(sums, self._ks, strict=True):
                found = np.bincount(groups[of_answers < k], minlength=len(self._names))
                row[present] += found[present] / np.minimum(k, sizes[present])

    def result(self) -> dict[str, GroupRecall]:
        """Returns recall by group name, for groups that occur."""
        recall, prior = self._sums / np.maximum(self._images, 1)
        return {
            name: GroupRecall(
                int(self._images[group]),
                int(self._pairs[group]),
                {k: float(value) for k, value in zip(self._ks, recall[:, group], strict=True)},
                {k: float(value) for k, value in zip(self._ks, prior[:, group], strict=True)},
            )
            for group, name in enumerate(self._names)
            if self._images[group]
        }


def ranks_of(tags: NDArray[np.int64], answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the rank of each tag [n] among the answers [K], from 0; NOT_FOUND if it is not among them."""
    same = tags[:, None] == answers[None, :]
    return np.where(same.any(axis=1), same.argmax(axis=1) if len(answers) else 0, NOT_FOUND)


def most_frequent_tags(counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Returns the k most frequent class ids, by count, then id; fewer if fewer occur."""
    order = np.lexsort((np.arange(len(counts)), -counts))[:k]
    return order[counts[order] > 0]
