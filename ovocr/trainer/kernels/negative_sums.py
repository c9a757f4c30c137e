"""Forward: sums of exponentials of the negatives, for all slots from one pass; no logit is written."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from ovocr.trainer.heads.negative_sums import NegativeSums
from ovocr.trainer.kernels.logits import cosines, exponentials, memberships
from ovocr.trainer.kernels.own_tags import is_own
from ovocr.trainer.kernels.tiling import Tiling


@triton.jit
def negative_sums_kernel(
    unit_ptr,
    embeddings_ptr,
    mask_ptr,
    members_ptr,
    exp_ptr,
    cosine_ptr,
    pairs_ptr,
    count,
    batch,
    dim,
    words,
    scale,
    shift,
    threshold,
    HAS_FILTER: constexpr,
    SLOTS: constexpr,
    K_PADDED: constexpr,
    BLOCK_S: constexpr,
    BLOCK_B: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
):
    """Program (i, j): centers of block i, images of block j. Writes its sums over the centers: exp_ptr
    [blocks, SLOTS, batch], cosine_ptr and pairs_ptr [blocks, batch].
    """
    block = tl.program_id(0)
    s_S = block * BLOCK_S + tl.arange(0, BLOCK_S)
    b_B = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    inside_B = b_B < batch
    inside_SB = (s_S < count)[:, None] & inside_B[None, :]
    cos_SB = cosines(unit_ptr, embeddings_ptr, s_S, b_B, count, batch, dim, BLOCK_D, PRECISION)
    counts_SB = inside_SB & ~is_own(mask_ptr, s_S, b_B, inside_SB, words)
    tl.store(cosine_ptr + block * batch + b_B, tl.sum(tl.where(counts_SB, cos_SB, 0.0), axis=0), mask=inside_B)
    tl.store(pairs_ptr + block * batch + b_B, tl.sum(counts_SB.to(tl.float32), axis=0), mask=inside_B)
    exp_SB = tl.where(counts_SB, exponentials(cos_SB, scale, shift, threshold, HAS_FILTER), 0.0)
    if SLOTS == 1:
        tl.store(exp_ptr + block * batch + b_B, tl.sum(exp_SB, axis=0), mask=inside_B)
    else:
        members_SK = memberships(members_ptr, s_S, count, K_PADDED)
        sum_KB = tl.dot(tl.trans(members_SK), exp_SB, input_precision="tf32x3")
        k_K = tl.arange(0, K_PADDED)
        place_KB = (block * SLOTS + k_K[:, None]) * batch + b_B[None, :]
        tl.store(exp_ptr + place_KB, sum_KB, mask=(k_K < SLOTS)[:, None] & inside_B[None, :])


def negative_sums(
    unit_ND: Tensor,
    embeddings_BD: Tensor,
    mask_NW: Tensor,
    members_N: Tensor | None,
    *,
    slots: int,
    scale: float,
    shift: float,
    filter_threshold: float | None,
    tiling: Tiling,
) -> NegativeSums:
    """Sums over a chunk of N centers. unit_ND, embeddings_BD: unit rows of the products' type.

    mask_NW: bits of own tags; members_N: int32 words of membership bits, None: all slots share one sample.
    """
    count, dim = unit_ND.shape
    batch = embeddings_BD.shape[0]
    grid = (triton.cdiv(count, tiling.block_s), triton.cdiv(batch, tiling.block_b))
    # Added up below, always in the same order.
    exp = unit_ND.new_empty((grid[0], slots, batch), dtype=torch.float32)
    cosine, pairs = (unit_ND.new_empty((grid[0], batch), dtype=torch.float32) for _ in range(2))
    negative_sums_kernel[grid](
        unit_ND,
        embeddings_BD,
        mask_NW,
        members_N,
        exp,
        cosine,
        pairs,
        count,
        batch,
        dim,
        mask_NW.shape[1],
        scale,
        shift,
        0.0 if filter_threshold is None else filter_threshold,
        HAS_FILTER=filter_threshold is not None,
        SLOTS=slots,
        K_PADDED=max(16, triton.next_power_of_2(slots)),
        BLOCK_S=tiling.block_s,
        BLOCK_B=tiling.block_b,
        BLOCK_D=tiling.block_d,
        PRECISION=tiling.precision,
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
    )
    return NegativeSums(exp.sum(0).T, cosine.sum(), pairs.sum())
