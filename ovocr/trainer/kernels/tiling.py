"""Sizes of the tiles that programs work on."""

from dataclasses import dataclass, replace
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Tile sizes of one product kernel.

    block_s, block_b, block_d: centers, images and channels; powers of two, 16 at least (a tensor core's tile).
    precision: of float32 products, Triton's input_precision; without meaning for bfloat16.
    """

    block_s: int
    block_b: int
    block_d: int
    num_warps: int
    num_stages: int
    precision: str = "ieee"

    def constants(self) -> dict[str, Any]:
        """What a product kernel takes of it at compile time."""
        return {
            "BLOCK_S": self.block_s,
            "BLOCK_B": self.block_b,
            "BLOCK_D": self.block_d,
            "PRECISION": self.precision,
        }

    def launch_options(self) -> dict[str, Any]:
        """Those constants, and what the launch itself takes."""
        return self.constants() | {"num_warps": self.num_warps, "num_stages": self.num_stages}

    def fitting(self, count: int, batch: int, dim: int) -> "Tiling":
        """The same with no axis longer than the data needs."""
        return replace(
            self,
            block_s=_fit(self.block_s, count),
            block_b=_fit(self.block_b, batch),
            block_d=_fit(self.block_d, dim),
        )


@dataclass(frozen=True, kw_only=True)
class Tilings:
    """One tiling for each product: cosines forward and backward, gradients of centers and of embeddings."""

    sums: Tiling
    logits: Tiling
    centers: Tiling
    embeddings: Tiling


def tilings_for(dtype: torch.dtype, capability: int) -> Tilings:
    """Tilings for products of this type on GPUs of this major compute capability: 8 (A100) or 9 (H100, H200).

    benchmarks/kernel_resources.py shows that their registers suffice.
    """
    if dtype == torch.bfloat16:
        product = Tiling(block_s=128, block_b=128, block_d=64, num_warps=8, num_stages=3)
        # Exponentials are worked on beside the cosines; Hopper's products leave more registers for that.
        logits = product if capability >= 9 else replace(product, block_b=64, num_warps=4)
        return Tilings(sums=logits, logits=logits, centers=product, embeddings=product)
    # float32 tiles are twice as large, and "ieee" products run on plain multipliers: smaller tiles, or they spill.
    precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    product = Tiling(block_s=64, block_b=64, block_d=32, num_warps=8, num_stages=2, precision=precision)
    return Tilings(sums=product, logits=product, centers=product, embeddings=product)


def _fit(block: int, size: int) -> int:
    return max(16, min(block, 1 << max(0, size - 1).bit_length()))
