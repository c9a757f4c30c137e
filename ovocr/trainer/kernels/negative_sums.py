"""Forward pass: weighted sums of exponentials of the negatives, all in one pass; no logit is written to memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from ovocr.trainer.kernels.logits import cosines, exponentials
from ovocr.trainer.kernels.skipped_pairs import is_skipped
from ovocr.trainer.kernels.tiling import Tiling


@triton.jit
def negative_sums_kernel(
    unit_ptr,
    embeddings_ptr,
    mask_ptr,
    weights_ptr,
    exp_ptr,
    cosine_ptr,
    count,
    batch,
    dim,
    words,
    scale,
    shift,
    threshold,
    HAS_FILTER: constexpr,
    HAS_WEIGHTS: constexpr,
    SUMS: constexpr,
    BLOCK_S: constexpr,
    BLOCK_B: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
):
    """Program (i, j): centers of block i, images of block j.

    Writes its sums to exp_ptr [blocks, SUMS, batch] and cosine_ptr [blocks, batch].
    """
    block = tl.program_id(0)
    s_S = block * BLOCK_S + tl.arange(0, BLOCK_S)
    b_B = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    inside_B = b_B < batch
    # Images are the rows of this tile, so each thread of the tensor cores' layout sums its own numbers.
    cos_BS = cosines(embeddings_ptr, unit_ptr, b_B, s_S, batch, count, dim, BLOCK_D, PRECISION)
    counts_BS = inside_B[:, None] & (s_S < count)[None, :]
    counts_BS = counts_BS & ~is_skipped(mask_ptr, s_S[None, :], b_B[:, None], counts_BS, words)
    tl.store(cosine_ptr + block * batch + b_B, tl.sum(tl.where(counts_BS, cos_BS, 0.0), axis=1), mask=inside_B)
    exp_BS = tl.where(counts_BS, exponentials(cos_BS, scale, shift, threshold, HAS_FILTER), 0.0)
    if HAS_WEIGHTS:
        # Uses plain additions: a product with the weights would need the exponentials in a different layout, and spill.
        for k in tl.static_range(SUMS):
            weight_S = tl.load(weights_ptr + s_S * SUMS + k, mask=s_S < count, other=0.0)
            sum_B = tl.sum(exp_BS * weight_S[None, :], axis=1)
            tl.store(exp_ptr + (block * SUMS + k) * batch + b_B, sum_B, mask=inside_B)
    else:
        tl.store(exp_ptr + block * batch + b_B, tl.sum(exp_BS, axis=1), mask=inside_B)


def negative_sums(
    unit_ND: Tensor,
    embeddings_BD: Tensor,
    mask_NW: Tensor,
    weights_NK: Tensor | None,
    *,
    scale: float,
    shift: float,
    filter_threshold: float | None,
    tiling: Tiling,
) -> tuple[Tensor, Tensor]:
    """Returns sums over a chunk of N centers: of the exponentials [B, K], and of all included cosines, a scalar.

    unit_ND, embeddings_BD: unit rows in the products' dtype.
    mask_NW: bits of the skipped pairs, from ``skipped_pairs_mask``.
    weights_NK: factor of each exponential in each sum, float32; None for one sum with factors of 1.
    """
    count, dim = unit_ND.shape
    batch = embeddings_BD.shape[0]
    sums = 1 if weights_NK is None else weights_NK.shape[1]
    grid = (triton.cdiv(count, tiling.block_s), triton.cdiv(batch, tiling.block_b))
    # Partial sums, added below in a fixed order.
    exp = unit_ND.new_empty((grid[0], sums, batch), dtype=torch.float32)
    cosine = unit_ND.new_empty((grid[0], batch), dtype=torch.float32)
    negative_sums_kernel[grid](
        unit_ND,
        embeddings_BD,
        mask_NW,
        weights_NK,
        exp,
        cosine,
        count,
        batch,
        dim,
        mask_NW.shape[1],
        scale,
        shift,
        0.0 if filter_threshold is None else filter_threshold,
        HAS_FILTER=filter_threshold is not None,
        HAS_WEIGHTS=weights_NK is not None,
        SUMS=sums,
        **tiling.launch_options(),
    )
    return exp.sum(0).T, cosine.sum()
