"""Draws of tag slots and negatives: functions of (seed, step) and the item drawn, independent of the rank.

All draws use one counter-based hash. Any rank can compute its share of a draw without communication and without a
shuffle of size C, and all devices give the same integers.

Shape suffixes: B images of the global batch, T stored tags, K drawn slots.
"""

from typing import TypeVar

import torch
from torch import Tensor

_Id = TypeVar("_Id", int, Tensor)
_MASK = 0xFFFFFFFF
# Each kind of draw has its own constant, so slot draws and negatives of a step are unrelated.
_SLOT_STREAM = 0x51D7348D
_NEGATIVE_STREAM = 0x2545F491


def _mix(value: Tensor) -> Tensor:
    """Finaliser of MurmurHash3 (32 bits) in int64 arithmetic; products wrap and only the low 32 bits are kept."""
    value = value ^ (value >> 16)
    value = (value * 0x85EBCA6B) & _MASK
    value = value ^ (value >> 13)
    value = (value * 0xC2B2AE35) & _MASK
    return value ^ (value >> 16)


def counter_hash(*counters: Tensor | int, device: torch.device) -> Tensor:
    """Hashes integer counters, broadcast against each other, to int64 values in [0, 2**32).

    Counters are taken modulo 2**64; both 32-bit halves are used.
    """
    state = torch.zeros((), dtype=torch.int64, device=device)
    for counter in counters:
        if isinstance(counter, int):  # a Python integer may exceed int64, so it is split first
            low, high = counter & _MASK, (counter >> 32) & _MASK
            state = _mix((_mix(state ^ low) + high + 0x9E3779B9) & _MASK)
        else:
            low_half, high_half = counter & _MASK, (counter >> 32) & _MASK
            state = _mix((_mix(state ^ low_half) + high_half + 0x9E3779B9) & _MASK)
    return state


def draw_slots(batch: int, stored: int, drawn: int, *, seed: int, step: int, device: torch.device) -> Tensor:
    """Draws ``drawn`` of ``stored`` tag slots without replacement for each image of the global batch, int64 [B, K].

    Slots are ranked by hash; equal hashes are ordered by slot number.
    """
    positions_B1 = torch.arange(batch, device=device).unsqueeze(1)
    slots_1T = torch.arange(stored, device=device).unsqueeze(0)
    hash_BT = counter_hash(seed, step, _SLOT_STREAM, positions_B1, slots_1T, device=device)
    # stored < 2**20, so hash * 2**20 + slot fits int64 and all keys are distinct: any sort gives the same order.
    return torch.topk(hash_BT * 2**20 + slots_1T, drawn, dim=1, largest=False, sorted=True).values % 2**20


class NegativeSampler:
    """Draws one class from every block of about 1 / sample_rate consecutive class ids.

    The ids 0 .. C-1 are split into n = round(sample_rate * C) blocks; block j is [j*C//n, (j+1)*C//n). The hash of
    (seed, step, slot, block) picks one class of each block. This draws n classes in ascending order without a sort,
    each with probability 1 / (size of its block). If n does not divide C, block sizes differ by one: at rate 0.1 the
    probabilities are 1/10 or 1/11, at 0.75 they are 1 or 1/2.
    """

    def __init__(self, num_classes: int, sample_rate: float) -> None:
        self.num_classes = num_classes
        self.blocks = max(1, round(sample_rate * num_classes))

    def draw(self, first: int, last: int, *, seed: int, step: int, slots: Tensor) -> Tensor:
        """Returns the class drawn by each slot from each block that overlaps [first, last), ascending, int64 [slots,
        blocks].

        A block that extends beyond the range may give a class outside it. slots: int64 [slots].
        """
        if first >= last:
            return slots.new_empty((slots.shape[0], 0))
        blocks = torch.arange(self._block_of(first), self._block_of(last - 1) + 1, device=slots.device)
        return self._picks(blocks, seed=seed, step=step, slot=slots.unsqueeze(1))

    def contains(self, classes: Tensor, slot: Tensor | int, *, seed: int, step: int) -> Tensor:
        """Returns whether each class id is drawn for its slot (broadcast), without computing the whole draw."""
        return self._picks(self._block_of(classes), seed=seed, step=step, slot=slot) == classes

    def block_sizes(self, classes: Tensor) -> Tensor:
        """Returns the number of classes in the block of each class id: 1 / the probability that it is drawn."""
        return self._size_of(self._block_of(classes))

    def _size_of(self, blocks: Tensor) -> Tensor:
        return (blocks + 1) * self.num_classes // self.blocks - blocks * self.num_classes // self.blocks

    def _picks(self, blocks: Tensor, *, seed: int, step: int, slot: Tensor | int) -> Tensor:
        starts = blocks * self.num_classes // self.blocks
        hashes = counter_hash(seed, step, _NEGATIVE_STREAM, slot, blocks, device=blocks.device)
        return starts + ((hashes * self._size_of(blocks)) >> 32)

    def _block_of(self, class_id: _Id) -> _Id:
        """Returns the largest j with j*C//n <= id."""
        return ((class_id + 1) * self.blocks - 1) // self.num_classes
