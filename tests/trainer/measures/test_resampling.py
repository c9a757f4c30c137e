"""Blocks of groups, weights of replicates, and intervals."""

import numpy as np
import pytest

from ovocr.trainer.measures.resampling import MAX_BLOCKS, Resampling


def test_each_image_is_a_group() -> None:
    drawn = Resampling.draw(7, None, 50, seed=3)
    assert drawn.groups == 7
    assert drawn.blocks_N.tolist() == list(range(7))
    assert drawn.weights_GR.shape == (7, 50)
    assert (drawn.weights_GR.sum(axis=0) == 7).all()
    assert (drawn.weights_GR % 1 == 0).all()
    assert len(np.unique(drawn.weights_GR, axis=1).T) > 40  # the replicates differ


def test_images_of_a_group_are_drawn_together() -> None:
    drawn = Resampling.draw(5, np.array([9, -4, 9, 2, -4]), 50, seed=3)
    assert drawn.groups == 3
    assert drawn.blocks_N.tolist() == [2, 0, 2, 1, 0]
    assert (drawn.weights_GR.sum(axis=0) == 3).all()


def test_many_groups_are_spread_evenly_over_blocks() -> None:
    groups = np.random.default_rng(0).integers(0, 10**9, 1300).repeat(3)
    drawn = Resampling.draw(3900, groups, 10, seed=3)
    assert drawn.groups == 1300
    assert drawn.weights_GR.shape == (MAX_BLOCKS, 10)
    blocks = drawn.blocks_N.reshape(1300, 3)
    assert (blocks == blocks[:, :1]).all()
    assert set(np.bincount(blocks[:, 0], minlength=MAX_BLOCKS).tolist()) == {2, 3}
    assert len(set(blocks[:3, 0].tolist())) == 3  # not neighbours


def test_the_seed_decides() -> None:
    one, same, other = (Resampling.draw(900, None, 20, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.weights_GR, same.weights_GR)
    assert np.array_equal(one.blocks_N, same.blocks_N)
    assert not np.array_equal(one.weights_GR, other.weights_GR)
    assert not np.array_equal(one.blocks_N, other.blocks_N)


def test_interval_by_hand() -> None:
    drawn = Resampling.draw(500, None, 2, seed=0)
    # Replicates of mean 0.7 are shifted to the value; t of 499 degrees is 1.9647, and the normal quantile 1.9600.
    replicates = np.linspace(0.6, 0.8, 1001)
    factor = 1.96473 / 1.95996 * (500 / 499) ** 0.5
    assert drawn.interval(0.5, replicates) == pytest.approx((0.5 - 0.095 * factor, 0.5 + 0.095 * factor), abs=1e-6)
    assert drawn.interval(0.98, replicates) == pytest.approx((0.98 - 0.095 * factor, 1.0), abs=1e-6)
    assert drawn.interval(0.02, replicates) == pytest.approx((0.0, 0.02 + 0.095 * factor), abs=1e-6)


@pytest.mark.parametrize(
    ("groups", "t"), [(2, 12.7062), (3, 4.30265), (4, 3.18245), (5, 2.77645), (10, 2.26216), (20, 2.09302)]
)
def test_interval_is_wider_for_few_groups(groups: int, t: float) -> None:
    drawn = Resampling.draw(groups, None, 2, seed=0)
    interval = drawn.interval(0.5, np.linspace(0.499, 0.501, 1001))
    assert interval is not None
    factor = t / 1.959964 * (groups / (groups - 1)) ** 0.5  # t: quantile 0.975 of Student's t, from tables
    assert interval[1] - interval[0] == pytest.approx(0.0019 * factor, rel=2e-3)


def test_no_interval_for_one_group_or_one_replicate() -> None:
    assert Resampling.draw(9, np.zeros(9, np.int64), 10, 0).interval(0.5, np.linspace(0, 1, 10)) is None
    assert Resampling.draw(1, None, 10, 0).interval(0.5, np.linspace(0, 1, 10)) is None
    assert Resampling.draw(9, None, 10, 0).interval(0.5, np.array([0.5])) is None
    assert Resampling.draw(0, None, 10, 0).groups == 0
