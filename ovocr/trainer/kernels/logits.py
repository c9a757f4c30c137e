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
def memberships(members_ptr, s_S, count, K_PADDED: constexpr):
    """Returns 1.0 where center s is in slot k's sample, [BLOCK_S, K_PADDED], from one word of K bits per center."""
    bits_S = tl.load(members_ptr + s_S, mask=s_S < count, other=0)
    k_K = tl.arange(0, K_PADDED)
    return ((bits_S[:, None] >> k_K[None, :]) & 1).to(tl.float32)
