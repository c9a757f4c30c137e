"""Data sets interleaved by weight: each has its own epochs, no sample is lost or repeated, from any position."""

import numpy as np
import pytest

from ovocr.trainer.data.mixing import ShuffledList, WeightedMixture, make_order
from ovocr.trainer.data.order import sample_index


def test_without_weights_all_samples_form_one_list() -> None:
    positions = np.arange(50)
    order = make_order([7, 4], None, seed=3)
    assert isinstance(order, ShuffledList)
    assert order.samples_at(positions).tolist() == sample_index(positions, 11, 3).tolist()


@pytest.mark.parametrize(
    ("sizes", "weights"), [([7, 4], [1.0, 1.0]), ([30, 5, 11], [0.7, 0.1, 0.2]), ([3, 1000], [1e-9, 1.0]), ([5], [3.0])]
)
def test_each_data_set_has_its_own_order(sizes: list[int], weights: list[float]) -> None:
    samples = WeightedMixture(sizes, weights, seed=9).samples_at(np.arange(25_000))
    first = np.cumsum([0, *sizes])
    for number, size in enumerate(sizes):
        own = samples[(samples >= first[number]) & (samples < first[number + 1])] - first[number]
        assert own.tolist() == sample_index(np.arange(len(own)), size, 9 + number).tolist()
        epochs = len(own) // size
        assert (np.bincount(own[: epochs * size], minlength=size) == epochs).all()


@pytest.mark.parametrize("weights", [[1.0, 1.0], [2.0, 1.0], [0.7, 0.1, 0.2], [0.333, 0.667]])
def test_any_range_has_the_weighted_shares(weights: list[float]) -> None:
    sizes = [1000] * len(weights)
    data_sets = WeightedMixture(sizes, weights, seed=0).samples_at(np.arange(30_000)) // 1000
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        taken = np.cumsum(data_sets == number)
        assert np.abs(taken - share * np.arange(1, 30_001)).max() <= 2


def test_positions_may_have_any_shape_and_order() -> None:
    order = WeightedMixture([30, 5, 11], [0.7, 0.1, 0.2], seed=1)
    whole = order.samples_at(np.arange(2000))
    asked = np.random.default_rng(0).permutation(2000).reshape(40, 50)
    assert np.array_equal(order.samples_at(asked), whole[asked])


def test_data_sets_of_equal_size_have_different_orders() -> None:
    samples = WeightedMixture([50, 50], [1.0, 1.0], seed=1).samples_at(np.arange(100))
    assert samples[::2].tolist() != (samples[1::2] - 50).tolist()


def test_weight_of_0_raises() -> None:
    with pytest.raises(ValueError, match="weights must be more than 0"):
        WeightedMixture([1, 1], [1.0, 0.0], seed=0)
