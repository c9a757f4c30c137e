"""Backward pass: gradient of a chunk's rows of the weight, including the backward of their normalisation."""

import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from ovocr.trainer.kernels.products import add_product
from ovocr.trainer.kernels.tiling import Tiling


@triton.jit
def center_gradients_kernel(
    gradient_ptr,
    embeddings_ptr,
    unit_ptr,
    along_ptr,
    inverse_ptr,
    out_ptr,
    count,
    batch,
    dim,
    BLOCK_S: constexpr,
    BLOCK_B: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
):
    """Program (i, j): centers of block i, channels of block j; sums over all images."""
    s_S = tl.program_id(0) * BLOCK_S + tl.arange(0, BLOCK_S)
    d_D = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    sum_SD = tl.zeros([BLOCK_S, BLOCK_D], dtype=tl.float32)
    for first in range(0, batch, BLOCK_B):
        b_B = first + tl.arange(0, BLOCK_B)
        gradient_SB = tl.load(
            gradient_ptr + s_S.to(tl.int64)[:, None] * batch + b_B[None, :],
            mask=(s_S < count)[:, None] & (b_B < batch)[None, :],
            other=0.0,
        )
        embeddings_BD = tl.load(
            embeddings_ptr + b_B[:, None] * dim + d_D[None, :],
            mask=(b_B < batch)[:, None] & (d_D < dim)[None, :],
            other=0.0,
        )
        sum_SD = add_product(sum_SD, gradient_SB, embeddings_BD, PRECISION)
    inside_SD = (s_S < count)[:, None] & (d_D < dim)[None, :]
    offset_SD = s_S.to(tl.int64)[:, None] * dim + d_D[None, :]
    unit_SD = tl.load(unit_ptr + offset_SD, mask=inside_SD, other=0.0).to(tl.float32)
    along_S = tl.load(along_ptr + s_S, mask=s_S < count, other=0.0)
    inverse_S = tl.load(inverse_ptr + s_S, mask=s_S < count, other=0.0)
    # Remove the component along the row: it only changes the length, which a unit row does not have.
    out_SD = (sum_SD - along_S[:, None] * unit_SD) * inverse_S[:, None]
    tl.store(out_ptr + offset_SD, out_SD, mask=inside_SD)


def center_gradients(
    gradient_NB: Tensor,
    embeddings_BD: Tensor,
    unit_ND: Tensor,
    along_N: Tensor,
    inverse_N: Tensor,
    out_ND: Tensor,
    *,
    tiling: Tiling,
) -> None:
    """Fills out_ND, float32.

    gradient_NB, along_N: from ``logit_gradients``.
    inverse_N: 1 / length of each row.
    """
    count, dim = unit_ND.shape
    grid = (triton.cdiv(count, tiling.block_s), triton.cdiv(dim, tiling.block_d))
    center_gradients_kernel[grid](
        gradient_NB,
        embeddings_BD,
        unit_ND,
        along_N,
        inverse_N,
        out_ND,
        count,
        embeddings_BD.shape[0],
        dim,
        **tiling.launch_options(),
    )
