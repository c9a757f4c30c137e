"""What the forward and the backward kernel share: a tile of cosines, and what is exponentiated of them."""

import triton
import triton.language as tl
from triton.language import constexpr

from ovocr.trainer.kernels.products import add_product

LOG2_E: constexpr = constexpr(1.4426950408889634)


@triton.jit
def cosines(unit_ptr, embeddings_ptr, s_S, b_B, count, batch, dim, BLOCK_D: constexpr, PRECISION: constexpr):
    """Cosines [BLOCK_S, BLOCK_B] of unit rows and unit embeddings, accumulated in float32."""
    cos_SB = tl.zeros([s_S.shape[0], b_B.shape[0]], dtype=tl.float32)
    for first in range(0, dim, BLOCK_D):
        d_D = first + tl.arange(0, BLOCK_D)
        unit_SD = tl.load(
            unit_ptr + s_S.to(tl.int64)[:, None] * dim + d_D[None, :],
            mask=(s_S < count)[:, None] & (d_D < dim)[None, :],
            other=0.0,
        )
        embeddings_DB = tl.load(
            embeddings_ptr + b_B[None, :] * dim + d_D[:, None],
            mask=(b_B < batch)[None, :] & (d_D < dim)[:, None],
            other=0.0,
        )
        cos_SB = add_product(cos_SB, unit_SD, embeddings_DB, PRECISION)
    return cos_SB


@triton.jit
def exponentials(cos_SB, scale, shift, threshold, HAS_FILTER: constexpr):
    """exp(scale * cos - shift); a cosine above the inter-class filter counts as 0."""
    if HAS_FILTER:
        cos_SB = tl.where(cos_SB > threshold, 0.0, cos_SB)
    return tl.exp2((cos_SB * scale - shift) * LOG2_E)


@triton.jit
def memberships(members_ptr, s_S, count, K_PADDED: constexpr):
    """1.0 where center s is in slot k's sample, [BLOCK_S, K_PADDED], from one word of K bits a center."""
    bits_S = tl.load(members_ptr + s_S, mask=s_S < count, other=0)
    k_K = tl.arange(0, K_PADDED)
    return ((bits_S[:, None] >> k_K[None, :]) & 1).to(tl.float32)
