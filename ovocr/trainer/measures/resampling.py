"""Bootstrap over images or groups of images: weights of the replicates, and the interval of a figure.

Groups (each image is one if there are none) are put into at most 500 blocks. A replicate draws as many blocks as there
are, with replacement; the weight of an image is how often its block was drawn. The same weights serve all classes,
because the classes of an image vary together.

The interval is [figure + f q(0.025), figure + f q(0.975)], clipped to [0, 1]: q are quantiles of the replicates'
differences from their own mean. The mean is taken out because average precision is biased in a replicate, where an
image that was drawn twice ranks beside itself. f corrects for few blocks, as for a mean: sqrt(G / (G - 1)), times the
ratio of two quantiles, of Student's t with G - 1 degrees of freedom and of the normal distribution.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 8, 12 and 13.

Shapes: N images, G blocks, R replicates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BLOCKS = 500
_QUANTILES = (0.025, 0.975)
_NORMAL = 1.959963984540054  # quantile 0.975 of the standard normal distribution


@dataclass(frozen=True)
class Resampling:
    """Blocks of images and their weights in the replicates.

    groups: number of groups; of images, if they have no groups.
    blocks_N: int64, the block of each image, 0 to G - 1.
    weights_GR: float32, how often each block was drawn for each replicate.
    """

    groups: int
    blocks_N: NDArray[np.int64]
    weights_GR: NDArray[np.float32]

    @classmethod
    def draw(cls, images: int, groups_N: NDArray[np.int64] | None, replicates: int, seed: int) -> "Resampling":
        """Assigns images to blocks and draws the replicates. The same arguments give the same result.

        groups_N: int64, any number for each group; None makes each image a group.
        """
        random = np.random.default_rng(seed)
        blocks_N, groups = np.arange(images), images
        if groups_N is not None:
            values, blocks_N = np.unique(groups_N, return_inverse=True)
            groups = len(values)
        blocks = min(max(1, groups), MAX_BLOCKS)
        if groups > blocks:
            block_of_group = np.empty(groups, np.int64)
            block_of_group[random.permutation(groups)] = np.arange(groups) % blocks
            blocks_N = block_of_group[blocks_N]
        drawn_RG = random.multinomial(blocks, np.full(blocks, 1 / blocks), size=replicates)
        return cls(groups, blocks_N, np.ascontiguousarray(drawn_RG.T, np.float32))

    def interval(self, value: float, replicates: NDArray[np.float64]) -> tuple[float, float] | None:
        """Returns the 95% interval of a figure from its values in replicates; None if it has fewer than two groups.

        replicates: values in the replicates in which the figure is defined. None if there are fewer than two.
        """
        if self.groups < 2 or len(replicates) < 2:
            return None
        differences = np.quantile(replicates - replicates.mean(), _QUANTILES) * _few_blocks(len(self.weights_GR))
        low, high = np.clip(value + differences, 0.0, 1.0).tolist()
        return low, high


def _few_blocks(blocks: int) -> float:
    """Returns the factor f of the interval; at least 2 blocks."""
    degrees, z = blocks - 1, _NORMAL
    if degrees == 1:
        quantile = 12.706204736432095
    elif degrees == 2:
        quantile = 4.302652729911275
    else:  # Abramowitz and Stegun, 26.7.5; the error is 0.12% at 3 degrees, and less beyond
        quantile = (
            z
            + (z**3 + z) / (4 * degrees)
            + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
            + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * degrees**4)
        )
    return float(quantile / z * np.sqrt(blocks / degrees))
