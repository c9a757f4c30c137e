"""Recall@k over images, for all tags and for groups of tags: a script, or how frequent a tag is in the training data.

    recall@k          = mean over images                      of |top-k ∩ tags|      / min(k, |tags|)
    recall@k of group = mean over images with tags of a group of |top-k ∩ its tags|  / min(k, |its tags|)

tags: an image's distinct tags. top-k: the first k answers, among all classes in both cases, so that a group does not
become easier by leaving out what is not of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOT_FOUND = np.iinfo(np.int64).max
"""Rank of a tag that is not among the answers."""

# Tags by how many training images have them: the least number of each band, and its name.
_BANDS = ((0, "never"), (1, "1"), (2, "2-9"), (10, "10-99"), (100, "100-999"), (1000, "1,000+"))
BANDS = tuple(name for _, name in _BANDS)


@dataclass(frozen=True)
class GroupRecall:
    """Recall of the tags of one group.

    images: that have tags of it. pairs: of an image and a distinct tag of it.
    recall: for each k, of the encoder. prior: for each k, of always answering the most frequent training tags.
    """

    images: int
    pairs: int
    recall: dict[int, float]
    prior: dict[int, float]


class RecallTally:
    """Sums up images one by one, for groups that are numbered by their place in ``names``."""

    def __init__(self, names: Sequence[str], ks: Sequence[int]) -> None:
        self._names, self._ks = tuple(names), tuple(ks)
        self._images = np.zeros(len(names), np.int64)
        self._pairs = np.zeros(len(names), np.int64)
        self._sums = np.zeros((2, len(ks), len(names)))

    def add(self, groups: NDArray[np.int64], ranks: NDArray[np.int64], prior_ranks: NDArray[np.int64]) -> None:
        """Add one image: for each of its distinct tags the group, and its rank among the answers and the prior's."""
        sizes = np.bincount(groups, minlength=len(self._names))
        present = sizes > 0
        self._images += present
        self._pairs += sizes
        for sums, of_answers in zip(self._sums, (ranks, prior_ranks), strict=True):
            for row, k in zip(sums, self._ks, strict=True):
                found = np.bincount(groups[of_answers < k], minlength=len(self._names))
                row[present] += found[present] / np.minimum(k, sizes[present])

    def result(self) -> dict[str, GroupRecall]:
        """By name, those that any image has tags of."""
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
    """Place of each tag [n] among the answers [K], from 0; NOT_FOUND where it is not among them."""
    same = tags[:, None] == answers[None, :]
    return np.where(same.any(axis=1), same.argmax(axis=1) if len(answers) else 0, NOT_FOUND)


def most_frequent_tags(counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k class ids of the greatest counts, greatest first; a tie: the lower id. Fewer where fewer were counted."""
    order = np.lexsort((np.arange(len(counts)), -counts))[:k]
    return order[counts[order] > 0]


def frequency_bands(counts: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Number in ``BANDS`` of each class, [num_classes]; counts: of training images by class id, 0 beyond its end."""
    every = np.zeros(num_classes, np.int64)
    every[: len(counts)] = counts[:num_classes]
    return np.digitize(every, [least for least, _ in _BANDS]) - 1
