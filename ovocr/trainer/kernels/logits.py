"""Device functions shared by the forward and backward kernels: a tile of cosines and its exponentials."""

import triton
import triton.language as tl
from triton.language import constexpr

from ovocr.trainer.kernels.products import add_product

LOG2_E: constexpr = constexpr(1.4426950408889634)


@triton.jit
def cosines(left_ptr, right_ptr, m_M, n_N, left_rows, right_rows, dim, BLOCK_D: constexpr, PRECISION: constexpr):
    """Returns cosines [BLOCK_M, BLOCK_N] of unit rows m and n of two matrices, accumulated in float32."""
    cos_MN = tl.zeros([m_M.shape[0], n_N.shape[0]], dtype=tl.float32)
    for first in range(0, dim, BLOCK_D):
        d_D = first + tl.arange(0, BLOCK_D)
        left_MD = tl.load(
            left_ptr + m_M.to(tl.int64)[:, None] * dim + d_D[None, :],
            mask=(m_M < left_rows)[:, None] & (d_D < dim)[None, :],
            other=0.0,
        )
        right_DN = tl.load(
            right_ptr + n_N.to(tl.int64)[None, :] * dim + d_D[:, None],
            mask=(n_N < right_rows)[None, :] & (d_D < dim)[:, None],
            other=0.0,
        )
        cos_MN = add_product(cos_MN, left_MD, right_DN, PRECISION)
    return cos_MN


@triton.jit
def exponentials(cos, scale, shift, threshold, HAS_FILTER: constexpr):
    """Returns exp(scale * cos - shift); a cosine above the filter threshold counts as 0."""
    if HAS_FILTER:
        cos = tl.where(cos > threshold, 0.0, cos)
    return tl.exp2((cos * scale - shift) * LOG2_E)


@triton.jit
def sum_weights(weights_ptr, s_S, count, SUMS: constexpr, K_PADDED: constexpr):
    """Returns the factor of center s in sum k, [BLOCK_S, K_PADDED], from a matrix with SUMS columns; 0 beyond them."""
    k_K = tl.arange(0, K_PADDED)
    inside_SK = (s_S < count)[:, None] & (k_K < SUMS)[None, :]
    return tl.load(weights_ptr + s_S[:, None] * SUMS + k_K[None, :], mask=inside_SK, other=0.0)
