"""The order in shuffled blocks: nothing lost or repeated, equal for any split, local for each rank, and random."""

import re
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.trainer.data.block_order import BlockOrder, Blocks
from ovocr.trainer.data.mixing import SampleOrder, ShuffledList, WeightedMixture, make_order
from ovocr.trainer.data.order import permute, rank_positions, sample_index

# Whole blocks, lanes and windows: 4 lanes of 8 blocks each, with 4 windows of 2 blocks (8 samples) in each lane.
EVEN = Blocks(batch=4, records=4, window=8)
EVEN_SIZE, EVEN_EPOCHS = 128, 4000
# Nothing divides anything.
ODD = Blocks(batch=500, records=60, window=130)
ODD_SIZE = 200_003


def epochs_of(size: int, seed: int, blocks: Blocks, count: int, first: int = 0) -> NDArray[np.int64]:
    """Returns the samples of epochs, [count, size]."""
    positions = np.arange(first * size, (first + count) * size)
    return BlockOrder(size, seed, blocks).samples_at(positions).reshape(count, size)


def rank_samples(order: SampleOrder, batch: int, world: int, passes: range) -> NDArray[np.int64]:
    """Returns the samples of each rank in each pass, [world, passes, batch / world]."""
    parts = [[list(rank_positions(number, batch, rank, world)) for number in passes] for rank in range(world)]
    return order.samples_at(np.array(parts))


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64, 65, 100, 4096])
@pytest.mark.parametrize("records", [1, 2, 7, 300])
@pytest.mark.parametrize("window", [1, 2, 5, 64, 130])
def test_every_epoch_has_every_sample_once(batch: int, records: int, window: int) -> None:
    edges = [records * window + step for step in (-1, 0, 1)]
    for size in (1, 2, 3, 5, 16, 31, 100, 257, 1000, 1009, *edges):
        if size:
            epochs = epochs_of(size, size, Blocks(batch=batch, records=records, window=window), 3)
            assert (np.sort(epochs, axis=1) == np.arange(size)).all(), size


@pytest.mark.parametrize("batch", [4096, 1000])
def test_large_epochs_have_every_sample_once(batch: int) -> None:
    blocks = Blocks(batch=batch, records=256, window=512)
    (epoch,) = epochs_of(365_187, 3, blocks, 1, first=5)
    assert np.array_equal(np.sort(epoch), np.arange(365_187))


def test_order_never_changes_between_releases() -> None:
    (epoch,) = epochs_of(13, 0, Blocks(batch=2, records=2, window=3), 1)
    assert epoch.tolist() == [4, 2, 0, 3, 1, 7, 12, 10, 5, 9, 6, 8, 11]
    large = BlockOrder(30_000_000, 1, Blocks(batch=4096, records=256, window=512))
    positions = [0, 1, 4095, 4096, 29_999_999, 30_000_000, 10**12]
    assert large.samples_at(np.array(positions)).tolist() == [
        962961,
        8580305,
        20020654,
        3923591,
        10969783,
        1127073,
        19150999,
    ]
    unusual = BlockOrder(1_000_003, 2**64 - 1, Blocks(batch=1000, records=100, window=70))
    assert unusual.samples_at(np.array([2**40])).tolist() == [259420]


def test_epochs_and_seeds_have_different_orders() -> None:
    orders = [epochs_of(100, seed, EVEN, 3) for seed in (0, 1, 2**64 - 1)]
    assert len({epoch.tobytes() for order in orders for epoch in order}) == 9


def test_positions_may_have_any_shape_and_order() -> None:
    order = BlockOrder(ODD_SIZE, 1, ODD)
    whole = order.samples_at(np.arange(ODD_SIZE - 1000, ODD_SIZE + 1000))
    asked = np.random.default_rng(0).permutation(2000).reshape(40, 50)
    assert np.array_equal(order.samples_at(asked + ODD_SIZE - 1000), whole[asked])
    assert [order.samples_at(np.array([ODD_SIZE - 1000 + place]))[0] for place in range(0, 2000, 97)] == whole[
        ::97
    ].tolist()
    assert order.samples_at(np.zeros((0, 3), np.int64)).shape == (0, 3)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_ranks_share_a_pass_as_one_rank_takes_it(world: int) -> None:
    order = BlockOrder(ODD_SIZE, 1, ODD)
    for number in (0, 400, 401):  # an epoch ends in pass 400
        whole = order.samples_at(np.arange(number * ODD.batch, (number + 1) * ODD.batch))
        parts = [np.array(rank_positions(number, ODD.batch, rank, world)) for rank in range(world)]
        assert np.array_equal(np.concatenate([order.samples_at(part) for part in parts]), whole)


@pytest.mark.parametrize(("world", "first"), [(4, 0), (4, 3), (20, 3)])
def test_a_rank_reads_its_share_of_the_blocks(world: int, first: int) -> None:
    """Also in later epochs, which begin inside a pass."""
    there = -(-ODD_SIZE // ODD.records)
    passes = range(-(-first * ODD_SIZE // ODD.batch), (first + 1) * ODD_SIZE // ODD.batch)  # the whole ones of an epoch
    ids = rank_samples(BlockOrder(ODD_SIZE, 7, ODD), ODD.batch, world, passes) // ODD.records
    needed = [len(np.unique(own)) for own in ids]
    # Two ranks may need the block at the border of their lanes. 20 ranks do not divide 64 lanes: they also share lanes.
    assert max(needed) < 1.15 * there / world if world == 4 else 1.6 * there / world
    random = sample_index(np.arange(len(passes) * ODD.batch), ODD_SIZE, 7).reshape(len(passes), world, -1)
    assert len(np.unique(random[:, 0] // ODD.records)) > (0.99 if world == 4 else 0.9) * there


def test_a_rank_needs_a_block_only_during_two_windows() -> None:
    order = BlockOrder(ODD_SIZE, 7, ODD)
    passes = range(400)
    ids = rank_samples(order, ODD.batch, 4, passes)[1] // ODD.records
    numbers = np.broadcast_to(np.arange(400)[:, None], ids.shape)
    first, last = np.full(ids.max() + 1, 400), np.full(ids.max() + 1, -1)
    np.minimum.at(first, ids, numbers)
    np.maximum.at(last, ids, numbers)
    seen = last >= 0
    window_passes = (ODD.window_records // 64) / (ODD.batch // 64)  # of the lanes that have fewer slots
    border = (last - first)[seen] > 2 * window_passes + 1
    # The exceptions are blocks at the borders of this rank's lanes, at most one for each of its 16 lanes.
    assert border.sum() <= 16
    assert np.median((last - first)[seen]) > 0.5 * window_passes  # a block is spread over its window
    at_a_time = [len(np.unique(ids[start : start + 5])) for start in range(0, 400, 5)]
    assert max(at_a_time) <= 2 * (ODD.window / 4 + 16)


def test_blocks_are_equally_often_in_each_window() -> None:
    epochs = epochs_of(EVEN_SIZE, 5, EVEN, EVEN_EPOCHS)
    positions = np.arange(EVEN_SIZE)
    windows = positions % 4 * 4 + positions // 4 // 8  # lane * windows of a lane + window
    counts = np.zeros((32, 16))
    np.add.at(counts, (epochs // 4, np.broadcast_to(windows, epochs.shape)), 1 / 4)  # a block has 4 samples
    assert np.array_equal(counts, counts.round())  # all samples of a block are in the same window
    expected = EVEN_EPOCHS / 16
    # Two of 32 blocks are in each window: mean 512 * 15 / 16, standard deviation about (2 * 31 * 15)^(1/2) * 32 / 31.
    assert ((counts - expected) ** 2 / expected).sum() < 480 + 4 * 31.5


def test_the_samples_of_a_window_are_at_any_place_of_it() -> None:
    epochs = epochs_of(EVEN_SIZE, 6, EVEN, EVEN_EPOCHS)
    window = epochs[:, 1:32:4]  # lane 1, its first 8 positions
    counts = np.zeros((4, 8))
    np.add.at(counts, (window % 4, np.broadcast_to(np.arange(8), window.shape)), 1)
    expected = EVEN_EPOCHS / 4
    assert ((counts - expected) ** 2 / expected).sum() < 24 + 4 * 7.4
    # Samples 0 and 1 of a block may be at any distance, modulo 8.
    places = np.argsort(window, axis=1)  # by block and offset
    steps = np.bincount(((places[:, 1] - places[:, 0]) % 8).ravel(), minlength=8)
    assert steps[0] == 0
    expected = EVEN_EPOCHS / 7
    assert ((steps[1:] - expected) ** 2 / expected).sum() < 6 + 4 * 3.5


def test_the_short_last_block_may_be_anywhere_in_an_epoch() -> None:
    size = EVEN_SIZE + 2
    epochs = epochs_of(size, 8, EVEN, EVEN_EPOCHS)
    places = np.nonzero(epochs == size - 1)[1]
    quarters = np.bincount(places * 4 // size, minlength=4) / EVEN_EPOCHS
    assert quarters == pytest.approx([0.25] * 4, abs=0.03)


def test_windows_of_a_lane_are_about_equally_long() -> None:
    """130 samples of a lane are 17 windows of 7 or 8 samples, not 16 windows of 8 samples and one of 2."""
    (epoch,) = epochs_of(520, 9, EVEN, 1)
    lane = epoch[2::4] // 4
    ends = np.cumsum([8] * 11 + [7] * 6)
    blocks = [len(np.unique(part)) for part in np.split(lane, ends[:-1])]
    assert set(blocks) == {2, 3}


def test_permutations_by_key_have_their_own_sizes() -> None:
    sizes = np.repeat(np.arange(1, 200), np.arange(1, 200))
    places = np.concatenate([np.arange(size) for size in range(1, 200)])
    permuted = permute(places, sizes, (sizes % 7).astype(np.uint64))
    for size in range(1, 200):
        own = permuted[sizes == size]
        assert sorted(own.tolist()) == list(range(size))
        alone = permute(np.arange(size), size, np.full(size, size % 7, np.uint64))
        assert np.array_equal(own, alone)


def test_memory_does_not_grow_with_the_samples() -> None:
    tracemalloc.start()
    try:
        BlockOrder(10**15, 0, Blocks(batch=64, records=256, window=512)).samples_at(np.arange(10**9, 10**9 + 64))
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_a_list_that_is_no_longer_than_a_window_is_shuffled_as_a_whole() -> None:
    blocks = Blocks(batch=6, records=5, window=4)
    order = make_order([13, 7], None, 3, blocks)
    assert isinstance(order, ShuffledList)
    assert order.samples_at(np.arange(50)).tolist() == sample_index(np.arange(50), 20, 3).tolist()
    longer = make_order([13, 8], None, 3, blocks)
    assert isinstance(longer, BlockOrder)
    assert longer.samples_at(np.arange(50)).tolist() == BlockOrder(21, 3, blocks).samples_at(np.arange(50)).tolist()


def test_each_data_set_of_a_mixture_has_its_own_blocks() -> None:
    sizes, weights, blocks = [10_003, 40, 8_000], [0.5, 0.2, 0.3], Blocks(batch=64, records=10, window=8)
    samples = make_order(sizes, weights, 9, blocks).samples_at(np.arange(200_000))
    first = np.cumsum([0, *sizes])
    for number, size in enumerate(sizes):
        mine = (samples >= first[number]) & (samples < first[number + 1])
        assert np.abs(np.cumsum(mine) - weights[number] * np.arange(1, 200_001)).max() < 2 + 200_000 / 1024
        own = samples[mine] - first[number]
        epochs = own[: len(own) // size * size].reshape(-1, size)
        assert (np.sort(epochs, axis=1) == np.arange(size)).all()
        if size == 40:  # no longer than a window
            assert np.array_equal(own, sample_index(np.arange(len(own)), 40, 9 + number))
        else:
            assert len({epoch.tobytes() for epoch in epochs}) == len(epochs)
            # The next 80 samples of the data set are of 8 lanes, each in at most two windows of two blocks.
            assert max(len(np.unique(epoch[4000:4080] // 10)) for epoch in epochs) <= 8 * 4


def test_order_of_a_mixture_never_changes_between_releases() -> None:
    order = WeightedMixture([300_000, 1_000_003], [1.0, 2.5], 4, Blocks(batch=512, records=100, window=70))
    assert order.samples_at(np.array([0, 1, 511, 10**6, 2**40])).tolist() == [898907, 254097, 276895, 1255475, 741182]


@pytest.mark.parametrize("batch", [1, 32, 4096])
@pytest.mark.parametrize("weights", [[1.0], [3.0, 1e-9, 1.0], [1.0] * 40, [0.5, 0.2, 0.3], range(1, 30)])
def test_the_pattern_of_a_mixture_is_a_multiple_of_the_pass(weights: list[float], batch: int) -> None:
    sizes, share = [1000] * len(weights), np.array(weights) / sum(weights)
    samples = WeightedMixture(sizes, weights, 0, Blocks(batch=batch, records=4, window=4)).samples_at(np.arange(65_536))
    data_sets = (samples // 1000).reshape(-1, batch)
    period = next(p for p in range(1, len(data_sets)) if (data_sets[p:] == data_sets[:-p]).all())
    assert period * batch < 8192
    counts = np.bincount(data_sets[:period].ravel(), minlength=len(weights))
    assert counts.min() > 0
    assert counts / (period * batch) == pytest.approx(share, abs=len(weights) / 1000)


@pytest.mark.parametrize("batch", [512, 32])
def test_a_rank_reads_little_more_than_its_share_of_a_mixture(batch: int) -> None:
    sizes, blocks = [300_000, 400_000], Blocks(batch=batch, records=64, window=512)
    order = WeightedMixture(sizes, [0.333, 0.667], 4, blocks)
    ids = rank_samples(order, batch, 4, range(400_000 // batch))
    for begin, end in ((0, 300_000), (300_000, 700_000)):
        together = len(np.unique((ids[(ids >= begin) & (ids < end)] - begin) // 64))
        needed = [len(np.unique((own[(own >= begin) & (own < end)] - begin) // 64)) for own in ids]
        assert sum(needed) < 1.15 * together


def test_invalid_numbers_raise() -> None:
    for name in ("batch", "records", "window"):
        with pytest.raises(ValueError, match=re.escape(f"{name} must be at least 1, not 0")):
            BlockOrder(5, 0, Blocks(**{"batch": 1, "records": 1, "window": 1, name: 0}))
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        BlockOrder(0, 0, EVEN)
    with pytest.raises(ValueError, match="positions must be at least 0"):
        BlockOrder(500, 0, EVEN).samples_at(np.array([3, -1]))
