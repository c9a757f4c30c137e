"""How random the order of training samples is with order = "blocks", beside order = "random".

    python benchmarks/block_order.py [--samples 30000000] [--batch 4096] [--ranks 8]

Computes the first epoch for several pairs of block_records and window_blocks, and prints:

- apart: how far samples i and i + 1 are apart in the order, the median as a share of the epoch;
- same batch: the share of them that are in the same batch;
- blocks per batch: distinct blocks of block_records samples in a batch, the mean over the epoch;
- in random order: the same number in random order;
- read: blocks that each rank needs during the epoch, summed over the ranks, for each block that there is;
- window: its samples, and their bytes at 60 kB.
"""

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.block_order import Blocks
from ovocr.trainer.data.mixing import SampleOrder, make_order

SETTINGS = ((256, 64), (256, 128), (256, 512), (256, 2048), (64, 2048), (1024, 128), (1024, 512))
BYTES = 60_000  # of a record
_CHUNK = 1_000_000


class Measures(NamedTuple):
    """The columns of the table, without the window."""

    apart: float
    same_batch: float
    blocks_per_batch: float
    read: float


def epoch_of(order: SampleOrder, samples: int) -> NDArray[np.int64]:
    """Returns the samples of the first epoch."""
    chunks = range(0, samples, _CHUNK)
    return np.concatenate([order.samples_at(np.arange(at, min(at + _CHUNK, samples))) for at in chunks])


def measure(epoch: NDArray[np.int64], block: int, batch: int, ranks: int) -> Measures:
    """Measures an epoch for blocks of this many samples."""
    samples = len(epoch)
    place = np.empty(samples, np.int64)
    place[epoch] = np.arange(samples)
    apart = np.abs(np.diff(place))
    same_batch = np.mean(place[1:] // batch == place[:-1] // batch)
    blocks = epoch // block
    whole = np.sort(blocks[: samples // batch * batch].reshape(-1, batch), axis=1)
    per_batch = 1 + np.mean(np.count_nonzero(np.diff(whole, axis=1), axis=1))
    there = -(-samples // block)
    needed = np.zeros(ranks * there, bool)
    needed[np.arange(samples) % batch * ranks // batch * there + blocks] = True
    return Measures(float(np.median(apart)) / samples, float(same_batch), float(per_batch), needed.sum() / there)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=30_000_000)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--ranks", type=int, default=8)
    options = parser.parse_args()
    random = epoch_of(make_order([options.samples], None, seed=0), options.samples)
    in_random = {block: measure(random, block, options.batch, options.ranks) for block in {b for b, _ in SETTINGS}}
    del random
    columns = ("order", "apart", "same batch", "blocks per batch", "in random order", "read", "window", "at 60 kB")
    print(f"{options.samples:,} samples, batches of {options.batch}, {options.ranks} ranks\n")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    base = in_random[SETTINGS[0][0]]
    print(f"| random | {base.apart:.2%} | {base.same_batch:.3%} | | | {base.read:.2f} | {options.samples:,} | |")
    for block, window in SETTINGS:
        blocks = Blocks(batch=options.batch, records=block, window=window)
        found = measure(
            epoch_of(make_order([options.samples], None, 0, blocks), options.samples),
            block,
            options.batch,
            options.ranks,
        )
        print(
            f"| {block} x {window} | {found.apart:.3%} | {found.same_batch:.2%} | {found.blocks_per_batch:,.0f} "
            f"| {in_random[block].blocks_per_batch:,.0f} | {found.read:.2f} | {blocks.window_records:,} "
            f"| {blocks.window_records * BYTES / 1e9:.1f} GB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
