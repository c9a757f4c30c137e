"""The counter-based hash behind everything that is drawn by position: the same on every platform, rank and worker."""

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, the step of SplitMix64


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's step and finaliser (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014)."""
    mixed = values + np.uint64(GOLDEN)  # unsigned products and sums wrap modulo 2**64
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def seed_key(seed: int) -> NDArray[np.uint64]:
    """A seed's hash, uint64 [1]; of any integer its low 64 bits count."""
    return mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))
