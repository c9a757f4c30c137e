"""The sample at each position of a run: a keyed permutation, computed on demand instead of stored.

A Feistel network over a grid of a * b >= n cells, with modular addition, permutes any number of samples (Black and
Rogaway, "Ciphers with Arbitrary Finite Domains", 2002); results of n or more are permuted again until they are smaller
(cycle walking). All arithmetic is on 64-bit integers, so every platform and version of numpy gives the same order.
"""

import numpy as np
from numpy.typing import NDArray

from ovocr.base.hashing import GOLDEN, mix, seed_key

_ROUNDS = 16  # with 16 or more, a chi-square test finds all orders of 2 to 7 samples equally often


def sample_index(positions: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Returns the samples at these positions of a run over ``n`` samples.

    positions: int64, any shape, from 0. Position p is in epoch p // n; each epoch has its own permutation.
    seed: any integer; its low 64 bits are used.

    Returns int64 sample numbers in [0, n), in the shape of ``positions``. Raises ValueError for n < 1 or a negative
    position.
    """
    positions = np.asarray(positions, dtype=np.int64)
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    if positions.size and positions.min() < 0:
        raise ValueError("positions must be at least 0")
    epochs, places = np.divmod(positions.ravel(), n)
    return permute(places, n, epoch_keys(seed, epochs)).reshape(positions.shape)


def epoch_keys(seed: int, epochs: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Returns the key of each epoch of a run with this seed, uint64 of the same shape."""
    return mix(seed_key(seed) ^ epochs.astype(np.uint64))


def permute(places: NDArray[np.int64], sizes: NDArray[np.int64] | int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Applies to each place the permutation of [0, size) that belongs to its key.

    places: int64 [N], each in [0, size).
    sizes: one number of at least 1 for all places, or int64 [N].
    keys: uint64 [N].

    Returns int64 [N].
    """
    limits = np.broadcast_to(np.asarray(sizes, dtype=np.uint64), places.shape)
    rows, columns = (np.broadcast_to(side, places.shape) for side in _grid(np.asarray(sizes, dtype=np.uint64)))
    cells = _permute(places.astype(np.uint64), keys, rows, columns)
    outside = np.flatnonzero(cells >= limits)
    while outside.size:
        cells[outside] = _permute(cells[outside], keys[outside], rows[outside], columns[outside])
        outside = outside[cells[outside] >= limits[outside]]
    return cells.astype(np.int64)


def rank_positions(step: int, global_batch: int, rank: int, world: int) -> range:
    """Returns the positions of rank ``rank`` of ``world`` at ``step``: its part of [step * G, (step + 1) * G).

    The parts are contiguous and in the order of the ranks; the first G % world ranks have one position more.
    """
    share, rest = divmod(global_batch, world)
    start = step * global_batch + rank * share + min(rank, rest)
    return range(start, start + share + (rank < rest))


def _grid(sizes: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Returns the rows and columns of nearly square grids of at least ``sizes`` cells, below 2**63.

    The number of rows is even: shifts of an odd number are even permutations, which reach only half of the orders.
    """
    last = sizes - np.uint64(1)
    root = np.sqrt(last.astype(np.float64)).astype(np.uint64)
    root = root - (root * root > last)  # the conversion of large numbers rounds up
    rows = (root + np.uint64(2)) // np.uint64(2) * np.uint64(2)
    return rows, last // rows + np.uint64(1)


def _permute(
    cells: NDArray[np.uint64], keys: NDArray[np.uint64], rows: NDArray[np.uint64], columns: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Permutes [0, rows * columns) by keys: row and column are shifted alternately by a hash of the other."""
    row, column = np.divmod(cells, columns)
    for number in range(_ROUNDS):
        round_keys = mix(keys + np.uint64((number + 1) * GOLDEN & 0xFFFFFFFFFFFFFFFF))
        if number % 2 == 0:
            row = (row + mix(round_keys ^ column) % rows) % rows
        else:
            column = (column + mix(round_keys ^ row) % columns) % columns
    return row * columns + column
