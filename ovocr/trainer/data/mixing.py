"""The order of a run's samples over one or several data sets.

Without weights the data sets form one list with one permutation per epoch. With weights each data set has its own
permutations, and a fixed, repeating pattern selects the next data set. Both orders are functions of the position: no
sample is lost or repeated for any number of ranks and workers, and a run can resume at any position.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.block_order import BlockOrder, Blocks
from ovocr.trainer.data.order import sample_index

# Approximate length of the pattern, which limits the precision of the weights.
_PATTERN_LENGTH = 10_000
# Least length of the pattern with blocks. In a longer one, a small data set would have no window of its own.
_BLOCKS_PATTERN_LENGTH = 1_000


class SampleOrder(Protocol):
    """The samples of a run by position."""

    def samples_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the sample numbers at these positions, from 0: int64 of the same shape."""


class ShuffledList:
    """All samples in one list, reshuffled in each epoch."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed

    def samples_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns sample numbers; position p is in epoch p // size, see ``sample_index``."""
        return sample_index(positions, self._size, self._seed)


class WeightedMixture:
    """Data sets interleaved by weight; each is repeated as often as needed and reshuffled each time.

    sizes: number of samples of each data set; sample numbers are consecutive.
    weights: relative frequency of each data set, with any sum.
    seed: seed of the orders.
    blocks: settings of the orders in shuffled blocks; None shuffles single samples.

    In any range of positions each data set has its share of samples, plus or minus two: the j-th of its n entries is at
    (j + 1/2) / n of the pattern. Raises ValueError if a weight is not greater than 0.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int, blocks: Blocks | None = None) -> None:
        self._first = np.cumsum([0, *sizes])
        self._frequencies = _integer_frequencies(weights, blocks)
        data_set = np.repeat(np.arange(len(sizes)), self._frequencies)
        earlier = np.concatenate([np.arange(frequency) for frequency in self._frequencies])
        pattern = np.lexsort((data_set, (earlier + 0.5) / self._frequencies[data_set]))
        self._data_set, self._earlier = data_set[pattern], earlier[pattern]
        self._orders = [
            _order_of(size, seed + number, blocks, np.flatnonzero(self._data_set == number))
            for number, size in enumerate(sizes)
        ]

    def samples_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns, for each position, the next sample of the data set that the pattern selects."""
        positions = np.asarray(positions, dtype=np.int64)
        rounds, entries = np.divmod(positions.ravel(), len(self._data_set))
        data_sets = self._data_set[entries]
        own = rounds * self._frequencies[data_sets] + self._earlier[entries]
        samples = np.empty_like(own)
        for number, order in enumerate(self._orders):
            mine = data_sets == number
            samples[mine] = self._first[number] + order.samples_at(own[mine])
        return samples.reshape(positions.shape)


def _integer_frequencies(weights: Sequence[float], blocks: Blocks | None) -> NDArray[np.int64]:
    """Returns integer frequencies proportional to the weights, at least 1 each; their sum is the pattern's length.

    With blocks, the length is a multiple of the pass, so that a data set has the same slots in each repetition.
    """
    if not all(weight > 0 for weight in weights):
        raise ValueError(f"weights must be more than 0: {list(weights)}")
    shares = np.asarray(weights, dtype=np.float64) / sum(weights)
    if blocks is not None:
        length = -(-max(_BLOCKS_PATTERN_LENGTH, len(weights) ** 2) // blocks.batch) * blocks.batch
        frequencies = np.maximum(1, np.rint(shares * length)).astype(np.int64)
        frequencies[np.argmax(frequencies)] += length - frequencies.sum()
        return frequencies
    frequencies = np.maximum(1, np.rint(shares * _PATTERN_LENGTH)).astype(np.int64)
    return frequencies // np.gcd.reduce(frequencies)


def make_order(
    sizes: Sequence[int], weights: Sequence[float] | None, seed: int, blocks: Blocks | None = None
) -> SampleOrder:
    """Creates the order of a run over data sets of these sizes.

    blocks: settings of the order in shuffled blocks; None shuffles single samples. With weights, each data set has its
        own blocks and windows.
    """
    if weights is None:
        return _order_of(sum(sizes), seed, blocks)
    return WeightedMixture(sizes, weights, seed, blocks)


def _order_of(size: int, seed: int, blocks: Blocks | None, entries: NDArray[np.int64] | None = None) -> SampleOrder:
    """Creates the order of a list. A list that is no longer than a window has no blocks.

    entries: the places of the list's samples in the pattern of a mixture.
    """
    if blocks is None or size <= blocks.window_records:
        return ShuffledList(size, seed)
    return BlockOrder(size, seed, blocks, None if entries is None else entries % blocks.batch)
