"""An order for slow or remote storage: shuffled blocks of samples, shuffled again within a window of blocks.

1. The blocks of an epoch are permuted. This gives a list of all samples.
2. The list is cut into lanes, equally long or nearly so. Each lane fills the same slots of every pass. Ranks take
   contiguous slots, so each rank reads its own lanes, and several machines do not all read every block.
3. Each lane is cut into windows of consecutive samples, and the samples of a window are permuted.

An epoch that is not a multiple of the pass begins and ends inside a pass. The samples of these two incomplete passes
are the end of the list, permuted as one window. All permutations are computed on demand, as in ``order``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovocr.base.hashing import mix
from ovocr.trainer.data.order import epoch_keys, permute

_MOST_LANES = 64
# Stand for numbers of lanes in the keys.
_INCOMPLETE, _SHORT_BLOCK = _MOST_LANES, _MOST_LANES + 1


@dataclass(frozen=True)
class Blocks:
    """Settings of the order.

    batch: number of samples per pass, over all ranks; in a mixture, over all data sets too.
    records: number of samples of a block.
    window: number of blocks of a window, over all lanes.
    """

    batch: int
    records: int
    window: int

    @property
    def window_records(self) -> int:
        """Number of samples of a window, over all lanes."""
        return self.records * self.window


class BlockOrder:
    """All samples in one list, in shuffled blocks, reshuffled in each epoch.

    size: number of samples. A list that is no longer than a window is better shuffled as a whole, by ``ShuffledList``.
    seed: any integer; its low 64 bits are used.
    slots: for a list that has only some slots of a pass: the slots that consecutive samples fill, in a cycle of one or
        more passes, [number of samples in the cycle], each in [0, batch). None: all slots of a pass in turn.

    Raises ValueError if a number is less than 1.
    """

    def __init__(self, size: int, seed: int, blocks: Blocks, slots: NDArray[np.int64] | None = None) -> None:
        for name, value in {"size": size, **vars(blocks)}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self._size, self._seed = size, seed
        self._block = blocks.records
        slots = np.arange(blocks.batch) if slots is None else slots
        self._cycle = len(slots)
        lanes = min(_MOST_LANES, blocks.batch, blocks.window, len(slots))
        self._lane = slots * lanes // blocks.batch
        self._widths = np.bincount(self._lane, minlength=lanes)  # samples of each lane in a cycle
        self._firsts = np.cumsum(self._widths) - self._widths
        self._steps = np.empty(len(slots), np.int64)  # number of earlier samples of the same lane in the cycle
        self._steps[np.argsort(self._lane, kind="stable")] = np.arange(len(slots))
        self._steps -= self._firsts[self._lane]
        self._window = blocks.window_records // np.count_nonzero(self._widths)

    def samples_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns sample numbers; position p is in epoch p // size. Raises ValueError for a negative position."""
        positions = np.asarray(positions, dtype=np.int64)
        if positions.size and positions.min() < 0:
            raise ValueError("positions must be at least 0")
        flat = positions.ravel()
        epochs = flat // self._size
        keys = epoch_keys(self._seed, epochs)
        places = self._places(flat, epochs * self._size, keys)
        return self._samples(places, keys).reshape(positions.shape)

    def _places(
        self, positions: NDArray[np.int64], starts: NDArray[np.int64], keys: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """Returns the places in the list of blocks. starts, keys: first position and key of each position's epoch."""
        first_cycle = -(-starts // self._cycle)
        cycles = np.maximum(0, (starts + self._size) // self._cycle - first_cycle)  # that are entirely in the epoch
        numbers, entries = np.divmod(positions, self._cycle)
        numbers -= first_cycle
        incomplete = (numbers < 0) | (numbers >= cycles)
        lane = self._lane[entries]
        steps = numbers * self._widths[lane] + self._steps[entries]
        begin, length = cycles * self._firsts[lane], cycles * self._widths[lane]
        windows = -(-length // self._window)

        # The incomplete cycles are one more lane, with one window.
        whole = cycles * self._cycle
        earlier = np.where(numbers < 0, 0, whole)
        lane = np.where(incomplete, _INCOMPLETE, lane)
        steps = np.where(incomplete, positions - starts - earlier, steps)
        begin, length = np.where(incomplete, whole, begin), np.where(incomplete, self._size - whole, length)
        windows = np.where(incomplete, 1, windows)

        window, window_begin, window_length = _parts(steps, length, windows)
        window_keys = mix(mix(keys ^ lane.astype(np.uint64)) ^ window.astype(np.uint64))
        return begin + window_begin + permute(steps - window_begin, window_length, window_keys)

    def _samples(self, places: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Returns the samples at these places of the list of blocks. The short last block may be anywhere in it."""
        full_blocks, rest = divmod(self._size, self._block)
        short = (mix(keys ^ np.uint64(_SHORT_BLOCK)) % np.uint64(full_blocks + 1)).astype(np.int64) * self._block
        samples = full_blocks * self._block + places - short
        in_full = (places < short) | (places >= short + rest)
        places = np.where(places < short, places, places - rest)[in_full]
        blocks, offsets = np.divmod(places, self._block)
        samples[in_full] = permute(blocks, max(1, full_blocks), keys[in_full]) * self._block + offsets
        return samples


def _parts(
    steps: NDArray[np.int64], lengths: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Divides [0, length) into ``count`` parts; the first length % count parts have one element more.

    Returns number, begin and length of the part of each step.
    """
    share, longer = np.divmod(lengths, counts)
    rest = steps - longer * (share + 1)
    numbers = np.where(rest < 0, steps // (share + 1), longer + rest // share)
    return numbers, numbers * share + np.minimum(numbers, longer), share + (numbers < longer)
