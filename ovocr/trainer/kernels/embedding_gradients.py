"""Backward pass: contribution of a chunk's centers to the gradient of the embeddings."""

import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from ovocr.trainer.kernels.products import add_product
from ovocr.trainer.kernels.tiling import Tiling


@triton.jit
def embedding_gradients_kernel(
    gradient_ptr,
    unit_ptr,
    out_ptr,
    count,
    batch,
    dim,
    blocks_per_split,
    BLOCK_S: constexpr,
    BLOCK_B: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
):
    """Program (i, j, k): images of block i, channels of block j, centers of split k. Adds to out_ptr [splits, B, D]."""
    b_B = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    d_D = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    split = tl.program_id(2)
    sum_BD = tl.zeros([BLOCK_B, BLOCK_D], dtype=tl.float32)
    first = split * blocks_per_split * BLOCK_S
    for start in range(first, min(first + blocks_per_split * BLOCK_S, count), BLOCK_S):
        s_S = start + tl.arange(0, BLOCK_S)
        gradient_BS = tl.load(
            gradient_ptr + s_S.to(tl.int64)[None, :] * batch + b_B[:, None],
            mask=(s_S < count)[None, :] & (b_B < batch)[:, None],
            other=0.0,
        )
        unit_SD = tl.load(
            unit_ptr + s_S.to(tl.int64)[:, None] * dim + d_D[None, :],
            mask=(s_S < count)[:, None] & (d_D < dim)[None, :],
            other=0.0,
        )
        sum_BD = add_product(sum_BD, gradient_BS, unit_SD, PRECISION)
    inside_BD = (b_B < batch)[:, None] & (d_D < dim)[None, :]
    target_BD = out_ptr + split.to(tl.int64) * batch * dim + b_B[:, None] * dim + d_D[None, :]
    tl.store(target_BD, tl.load(target_BD, mask=inside_BD) + sum_BD, mask=inside_BD)


def add_embedding_gradients(gradient_NB: Tensor, unit_ND: Tensor, partial_PBD: Tensor, *, tiling: Tiling) -> None:
    """Adds a chunk of N centers, split over P programs, to partial_PBD (float32); the sum over P is the gradient."""
    count, dim = unit_ND.shape
    splits, batch, _ = partial_PBD.shape
    grid = (triton.cdiv(batch, tiling.block_b), triton.cdiv(dim, tiling.block_d), splits)
    embedding_gradients_kernel[grid](
        gradient_NB,
        unit_ND,
        partial_PBD,
        count,
        batch,
        dim,
        triton.cdiv(triton.cdiv(count, tiling.block_s), splits),
        **tiling.launch_options(),
    )
