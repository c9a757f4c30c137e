"""Draws of slots and negatives: uniform, without replacement, and independent of the rank."""

import pytest
import torch

from ovocr.trainer.heads.sampling import NegativeSampler, counter_hash, draw_slots
from ovocr.trainer.ranks.distributed import row_range

CPU = torch.device("cpu")


def drawn_classes(sampler: NegativeSampler, first: int, last: int, *, seed: int, step: int, slot: int) -> torch.Tensor:
    """Returns the classes in [first, last) that a slot draws."""
    drawn = sampler.draw(first, last, seed=seed, step=step, slots=torch.tensor([slot]))[0]
    return drawn[(drawn >= first) & (drawn < last)]


def mixed(value: int) -> int:
    value ^= value >> 16
    value = value * 0x85EBCA6B % 2**32
    value ^= value >> 13
    value = value * 0xC2B2AE35 % 2**32
    return value ^ value >> 16


def test_hash_is_pinned() -> None:
    """A run resumed on another machine or release must draw the same samples."""
    counters = [0, 1, 2**31, 2**40 + 3]
    found = counter_hash(7, 1, torch.tensor(counters), device=CPU).tolist()
    assert found == [3955537974, 2622702227, 1248851606, 1768679267]
    for counter, hashed in zip(counters, found, strict=True):  # the same with Python's unbounded integers
        state = 0
        for part in (7, 1, counter):
            state = mixed((mixed(state ^ part % 2**32) + (part >> 32) + 0x9E3779B9) % 2**32)
        assert hashed == state


def test_hash_bits_are_balanced() -> None:
    hashes = counter_hash(3, torch.arange(1 << 15), device=CPU)
    assert int(hashes.min()) >= 0
    assert int(hashes.max()) < 2**32
    shares = torch.stack([((hashes >> bit) & 1).double().mean() for bit in range(32)])
    assert (shares - 0.5).abs().max() < 0.015  # five standard deviations of a fair coin


def test_slots_are_drawn_without_replacement_and_uniformly() -> None:
    slots = draw_slots(20_000, 10, 4, seed=0, step=5, device=CPU)
    assert slots.shape == (20_000, 4)
    assert (slots.sort(1).values.diff(dim=1) > 0).all()
    share = torch.bincount(slots.flatten(), minlength=10) / 20_000
    assert (share - 0.4).abs().max() < 0.02
    first = torch.bincount(slots[:, 0], minlength=10) / 20_000
    assert (first - 0.1).abs().max() < 0.012


def test_slots_depend_only_on_seed_step_and_position() -> None:
    slots = draw_slots(64, 100, 8, seed=1, step=2, device=CPU)
    assert torch.equal(slots[:10], draw_slots(10, 100, 8, seed=1, step=2, device=CPU))
    assert not torch.equal(slots, draw_slots(64, 100, 8, seed=2, step=2, device=CPU))
    assert not torch.equal(slots, draw_slots(64, 100, 8, seed=1, step=3, device=CPU))


@pytest.mark.parametrize(("classes", "rate"), [(365_187, 0.1), (1009, 0.3), (17, 0.5), (5, 0.01)])
def test_every_block_gives_one_negative(classes: int, rate: float) -> None:
    sampler = NegativeSampler(classes, rate)
    drawn = drawn_classes(sampler, 0, classes, seed=0, step=0, slot=0)
    assert drawn.shape[0] == max(1, round(rate * classes))
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < classes
    assert (drawn.diff() > 0).all()
    blocks = ((drawn + 1) * sampler.blocks - 1) // classes
    assert torch.equal(blocks, torch.arange(sampler.blocks))


def test_every_class_is_drawn_equally_often() -> None:
    sampler = NegativeSampler(103, 0.25)
    steps = 4000
    counts = torch.zeros(103)
    for step in range(steps):
        counts[drawn_classes(sampler, 0, 103, seed=9, step=step, slot=3)] += 1
    # Blocks contain 3 or 4 classes, so a class is drawn once in 3 or 4 steps.
    assert (counts / steps).min() > 0.22
    assert (counts / steps).max() < 0.37


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
def test_ranks_draw_parts_of_the_same_sample(world: int) -> None:
    sampler = NegativeSampler(1009, 0.1)
    whole = drawn_classes(sampler, 0, 1009, seed=4, step=11, slot=2)
    parts = [drawn_classes(sampler, *row_range(1009, rank, world), seed=4, step=11, slot=2) for rank in range(world)]
    assert torch.equal(torch.cat(parts), whole)


def test_contains_agrees_with_draw() -> None:
    sampler = NegativeSampler(1009, 0.1)
    drawn = drawn_classes(sampler, 0, 1009, seed=4, step=11, slot=2)
    found = sampler.contains(torch.arange(1009), 2, seed=4, step=11)
    assert torch.equal(found.nonzero().squeeze(1), drawn)


def test_slots_draw_independently() -> None:
    sampler = NegativeSampler(1009, 0.1)
    together = sampler.draw(0, 1009, seed=4, step=11, slots=torch.arange(3))
    assert together.shape == (3, 101)
    for slot in range(3):
        assert torch.equal(together[slot], drawn_classes(sampler, 0, 1009, seed=4, step=11, slot=slot))
    assert not torch.equal(together[0], together[1])


def test_rank_without_classes_draws_nothing() -> None:
    assert NegativeSampler(3, 0.5).draw(3, 3, seed=0, step=0, slots=torch.arange(2)).shape == (2, 0)
