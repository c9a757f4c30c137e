"""The counter-based hash of all draws by position: equal on every platform, rank and worker."""

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, the step of SplitMix64


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Applies SplitMix64's step and finaliser.

    Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
    """
    mixed = values + np.uint64(GOLDEN)  # unsigned arithmetic wraps modulo 2**64
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def seed_key(seed: int) -> NDArray[np.uint64]:
    """Returns the hash of a seed's low 64 bits, uint64 [1]."""
    return mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))


def uniform(seed: int, position: int, count: int) -> NDArray[np.float64]:
    """Returns numbers in [0, 1), float64 [count]: the upper 53 bits of hashes of (seed, position, number)."""
    key = mix(seed_key(seed) ^ np.uint64(position))
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return (mix(key + steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53
