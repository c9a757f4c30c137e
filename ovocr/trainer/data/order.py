"""Which sample stands at which position of a run, without a list of them: a keyed permutation, computed where needed.

A Feistel network over a grid of a * b >= n cells, with modular addition, permutes any number of samples (Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002); a result beyond n is permuted again until it is not (cycle
walking). Everything is integer arithmetic on 64 bits: the same order on every platform and with every version of numpy.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.hashing import GOLDEN, mix, seed_key

_ROUNDS = 16  # from here on the orders of 2 to 7 samples come out equally often by a chi-square test


def sample_index(positions: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """The samples at these positions of a run over ``n`` samples.

    positions: int64, any shape, from 0. Position p is in epoch p // n; each epoch is a permutation of its own.
    seed: any integer; its low 64 bits count.

    Returns int64 sample numbers in [0, n), of the shape of ``positions``. Raises ValueError for n < 1 or a negative
    position.
    """
    positions = np.asarray(positions, dtype=np.int64)
    if n < 1:
        raise ValueError(f"there are no positions in an order of {n} samples")
    if positions.size and positions.min() < 0:
        raise ValueError("positions start at 0")
    epochs, places = np.divmod(positions.ravel(), n)
    keys = mix(seed_key(seed) ^ epochs.astype(np.uint64))
    cells = places.astype(np.uint64)
    # An even number of rows: shifts of an odd number are even permutations all, and half of the orders out of reach.
    rows = (math.isqrt(n - 1) + 2) // 2 * 2
    columns = -(-n // rows)
    outside = np.arange(cells.size)
    while outside.size:
        cells[outside] = _permute(cells[outside], keys[outside], rows, columns)
        outside = outside[cells[outside] >= n]
    return cells.astype(np.int64).reshape(positions.shape)


def rank_positions(step: int, global_batch: int, rank: int, world: int) -> range:
    """The positions that rank ``rank`` of ``world`` takes at ``step``: its part of [step * G, (step + 1) * G).

    The parts are contiguous and in the order of the ranks; the first G % world ranks take one position more.
    """
    share, rest = divmod(global_batch, world)
    start = step * global_batch + rank * share + min(rank, rest)
    return range(start, start + share + (rank < rest))


def _permute(cells: NDArray[np.uint64], keys: NDArray[np.uint64], rows: int, columns: int) -> NDArray[np.uint64]:
    """A keyed permutation of [0, rows * columns): row and column are shifted in turn by a hash of the other."""
    row, column = np.divmod(cells, np.uint64(columns))
    for number in range(_ROUNDS):
        round_keys = mix(keys + np.uint64((number + 1) * GOLDEN & 0xFFFFFFFFFFFFFFFF))
        if number % 2 == 0:
            row = (row + mix(round_keys ^ column) % np.uint64(rows)) % np.uint64(rows)
        else:
            column = (column + mix(round_keys ^ row) % np.uint64(columns)) % np.uint64(columns)
    return row * np.uint64(columns) + column
