"""Tile sizes of the kernels."""

from dataclasses import dataclass, replace
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Tile sizes of one product kernel.

    block_s, block_b, block_d: centers, images and channels; powers of two, at least 16 (a tensor core's tile).
    precision: Triton's input_precision for float32 products; ignored for bfloat16.
    """

    block_s: int
    block_b: int
    block_d: int
    num_warps: int
    num_stages: int
    precision: str = "ieee"

    def constants(self) -> dict[str, Any]:
        """Returns the compile-time constants of a product kernel."""
        return {
            "BLOCK_S": self.block_s,
            "BLOCK_B": self.block_b,
            "BLOCK_D": self.block_d,
            "PRECISION": self.precision,
        }

    def launch_options(self) -> dict[str, Any]:
        """Returns the constants and the options of the launch itself."""
        return self.constants() | {"num_warps": self.num_warps, "num_stages": self.num_stages}

    def fitting(self, count: int, batch: int, dim: int) -> "Tiling":
        """Returns this tiling with each axis limited to the size of the data."""
        return replace(
            self,
            block_s=_fit(self.block_s, count),
            block_b=_fit(self.block_b, batch),
            block_d=_fit(self.block_d, dim),
        )


@dataclass(frozen=True, kw_only=True)
class Tilings:
    """The tilings of all products: cosines forward and backward, gradients of centers and of embeddings."""

    sums: Tiling
    logits: Tiling
    centers: Tiling
    embeddings: Tiling


def tilings_for(dtype: torch.dtype, capability: int) -> Tilings:
    """Returns tilings for products of this dtype on GPUs of this major compute capability, 8 (A100) or 9 (H100, H200).

    benchmarks/kernel_resources.py shows that they fit the registers.
    """
    if dtype == torch.bfloat16:
        product = Tiling(block_s=128, block_b=128, block_d=64, num_warps=8, num_stages=3)
        # Exponentials are computed next to the cosines; Hopper's products leave more registers for them.
        logits = product if capability >= 9 else replace(product, block_b=64, num_warps=4)
        return Tilings(sums=logits, logits=logits, centers=product, embeddings=product)
    # float32 tiles are twice as large and "ieee" products use plain multipliers; larger tiles would spill.
    precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    product = Tiling(block_s=64, block_b=64, block_d=32, num_warps=8, num_stages=2, precision=precision)
    return Tilings(sums=product, logits=product, centers=product, embeddings=product)


def _fit(block: int, size: int) -> int:
    return max(16, min(block, 1 << max(0, size - 1).bit_length()))
