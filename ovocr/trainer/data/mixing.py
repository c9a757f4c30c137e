"""The order of a run's samples over one or several data sets.

Without weights the data sets form one list with one permutation per epoch. With weights each data set has its own
permutations, and a fixed pattern of turns decides which data set is next. Both orders are functions of the position: no
sample is lost or repeated, whatever the number of ranks and workers, and a run can resume at any position.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.order import sample_index

# Approximate length of the pattern, and so the precision of the weights.
_TURNS = 10_000


class SampleOrder(Protocol):
    """The samples of a run by position."""

    def samples_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the sample numbers at these positions, from 0: int64 of the same shape."""


class ShuffledList:
    """All samples in one list, shuffled anew for each epoch."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed

    def samples_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns sample numbers; position p is in epoch p // size, see ``sample_index``."""
        return sample_index(positions, self._size, self._seed)


class WeightedMixture:
    """Data sets in turn, by weight; each is repeated as often as needed, shuffled anew each time.

    sizes: samples of each data set; their numbers are consecutive.
    weights: relative frequency of each data set, with any sum.
    seed: seed of the orders.

    In any range of positions each data set has its share to within a turn or two: the j-th of its n turns is at (j +
    1/2) / n of the pattern. Raises ValueError for weights that are not more than 0.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._sizes, self._seed = list(sizes), seed
        self._first = np.cumsum([0, *sizes])
        self._turns = _turns_of(weights)
        data_set = np.repeat(np.arange(len(sizes)), self._turns)
        earlier = np.concatenate([np.arange(turns) for turns in self._turns])
        pattern = np.lexsort((data_set, (earlier + 0.5) / self._turns[data_set]))
        self._data_set, self._earlier = data_set[pattern], earlier[pattern]

    def samples_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns, for each position, the next sample of the data set whose turn it is."""
        positions = np.asarray(positions, dtype=np.int64)
        rounds, turns = np.divmod(positions.ravel(), len(self._data_set))
        data_sets = self._data_set[turns]
        own = rounds * self._turns[data_sets] + self._earlier[turns]
        samples = np.empty_like(own)
        for number, size in enumerate(self._sizes):
            mine = data_sets == number
            samples[mine] = self._first[number] + sample_index(own[mine], size, self._seed + number)
        return samples.reshape(positions.shape)


def _turns_of(weights: Sequence[float]) -> NDArray[np.int64]:
    """Returns integer turns in proportion to the weights, at least one each; their sum is about _TURNS."""
    if not all(weight > 0 for weight in weights):
        raise ValueError(f"weights must be more than 0: {list(weights)}")
    shares = np.asarray(weights, dtype=np.float64) / sum(weights)
    turns = np.maximum(1, np.rint(shares * _TURNS)).astype(np.int64)
    return turns // np.gcd.reduce(turns)


def make_order(sizes: Sequence[int], weights: Sequence[float] | None, seed: int) -> SampleOrder:
    """Creates the order of a run over data sets of these sizes."""
    if weights is None:
        return ShuffledList(sum(sizes), seed)
    return WeightedMixture(sizes, weights, seed)
