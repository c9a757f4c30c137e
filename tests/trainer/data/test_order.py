"""The order of samples: a permutation per epoch, equal everywhere, split over ranks without loss."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

from ovocr.trainer.data.order import rank_positions, sample_index


def epoch(n: int, seed: int, number: int = 0) -> list[int]:
    return sample_index(np.arange(number * n, (number + 1) * n), n, seed).tolist()


def test_every_epoch_of_every_small_size_is_a_permutation() -> None:
    for n in range(1, 301):
        both = sample_index(np.arange(2 * n), n, seed=n)
        assert sorted(both[:n].tolist()) == list(range(n)), n
        assert sorted(both[n:].tolist()) == list(range(n)), n


@pytest.mark.parametrize("n", [4096, 10_007, 365_187])
def test_large_sizes_are_permutations(n: int) -> None:
    assert np.array_equal(np.sort(sample_index(np.arange(n), n, seed=3)), np.arange(n))


def test_epochs_and_seeds_have_different_orders() -> None:
    orders = [epoch(100, seed, number) for seed in (0, 1, 2**64 - 1) for number in range(3)]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_order_never_changes_between_releases() -> None:
    assert epoch(10, seed=0) == [2, 3, 9, 7, 0, 4, 5, 1, 6, 8]
    assert sample_index(np.array([0, 1, 365_186, 365_187, 10**12]), 365_187, seed=1).tolist() == [
        614,
        206419,
        134821,
        93025,
        271510,
    ]
    assert sample_index(np.array([2**40]), 15_000_000, seed=2**64 - 1).tolist() == [10048320]


def test_every_order_of_few_samples_is_equally_likely() -> None:
    # Chi-square over the 120 orders of 5 samples, 200 expected of each: mean 119, standard deviation 15.
    orders = Counter(map(tuple, sample_index(np.arange(24_000 * 5), 5, seed=7).reshape(-1, 5).tolist()))
    assert len(orders) == 120
    assert sum((count - 200) ** 2 / 200 for count in orders.values()) < 119 + 4 * 15.4


def test_positions_and_neighbours_look_random() -> None:
    n = 1000
    orders = sample_index(np.arange(2000 * n), n, seed=11).reshape(-1, n)
    # Over epochs any sample may be at any position: 999 degrees of freedom, standard deviation 45.
    for position in (0, 1, 499, 999):
        counts = np.bincount(orders[:, position], minlength=n)
        assert ((counts - 2) ** 2 / 2).sum() < 999 + 4 * 45
    steps = np.bincount(((orders[:, 1:] - orders[:, :-1]) % n).ravel(), minlength=n)
    assert steps[0] == 0
    expected = steps.sum() / (n - 1)
    assert ((steps[1:] - expected) ** 2 / expected).sum() < 998 + 4 * 45


def test_memory_does_not_grow_with_the_samples() -> None:
    tracemalloc.start()
    try:
        sample_index(np.arange(64), 10**15, seed=0)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_shapes_are_kept_even_if_empty() -> None:
    assert sample_index(np.zeros((2, 3), np.int64), 5, seed=0).shape == (2, 3)
    empty = sample_index(np.array([], np.int64), 5, seed=0)
    assert empty.shape == (0,)
    assert empty.dtype == np.int64


def test_invalid_positions_raise() -> None:
    with pytest.raises(ValueError, match="n must be at least 1, not 0"):
        sample_index(np.array([0]), 0, seed=0)
    with pytest.raises(ValueError, match="positions must be at least 0"):
        sample_index(np.array([3, -1]), 5, seed=0)


@pytest.mark.parametrize("world", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("global_batch", [1, 3, 8, 10])
def test_ranks_share_a_step_without_loss_or_repetition(world: int, global_batch: int) -> None:
    for step in (0, 7):
        parts = [rank_positions(step, global_batch, rank, world) for rank in range(world)]
        together = [position for part in parts for position in part]
        assert together == list(range(step * global_batch, (step + 1) * global_batch))
        sizes = [len(part) for part in parts]
        assert sizes == sorted(sizes, reverse=True)
        assert max(sizes) - min(sizes) <= 1
