"""Backward pass: d loss / d cosine of a chunk's negatives, and its component along each center."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from ovocr.trainer.kernels.logits import cosines, exponentials, sum_weights
from ovocr.trainer.kernels.skipped_pairs import is_skipped
from ovocr.trainer.kernels.tiling import Tiling


@triton.jit
def logit_gradients_kernel(
    unit_ptr,
    embeddings_ptr,
    mask_ptr,
    weights_ptr,
    slope_ptr,
    gradient_ptr,
    along_ptr,
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
    K_PADDED: constexpr,
    BLOCK_S: constexpr,
    BLOCK_B: constexpr,
    BLOCK_D: constexpr,
    PRECISION: constexpr,
):
    """Program (i, j): centers of block i, images of block j. Writes gradient_ptr [count, batch], row j of along_ptr."""
    s_S = tl.program_id(0) * BLOCK_S + tl.arange(0, BLOCK_S)
    b_B = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    inside_SB = (s_S < count)[:, None] & (b_B < batch)[None, :]
    cos_SB = cosines(unit_ptr, embeddings_ptr, s_S, b_B, count, batch, dim, BLOCK_D, PRECISION)
    counts_SB = inside_SB & ~is_skipped(mask_ptr, s_S[:, None], b_B[None, :], inside_SB, words)
    if HAS_FILTER:
        counts_SB = counts_SB & (cos_SB <= threshold)
    exp_SB = exponentials(cos_SB, scale, shift, threshold, HAS_FILTER)
    if SUMS == 1:
        slope_B = tl.load(slope_ptr + b_B, mask=b_B < batch, other=0.0)
        gradient_SB = exp_SB * slope_B[None, :]
        if HAS_WEIGHTS:
            gradient_SB *= tl.load(weights_ptr + s_S, mask=s_S < count, other=0.0)[:, None]
    else:
        weights_SK = sum_weights(weights_ptr, s_S, count, SUMS, K_PADDED)
        k_K = tl.arange(0, K_PADDED)
        inside_KB = (k_K < SUMS)[:, None] & (b_B < batch)[None, :]
        slope_KB = tl.load(slope_ptr + k_K[:, None] * batch + b_B[None, :], mask=inside_KB, other=0.0)
        gradient_SB = exp_SB * tl.dot(weights_SK, slope_KB, input_precision="tf32x3")
    gradient_SB = tl.where(counts_SB, gradient_SB, 0.0)
    along_S = tl.sum(gradient_SB * cos_SB, axis=1)
    tl.store(along_ptr + tl.program_id(1) * count + s_S, along_S, mask=s_S < count)
    offset_SB = s_S.to(tl.int64)[:, None] * batch + b_B[None, :]
    tl.store(gradient_ptr + offset_SB, gradient_SB.to(gradient_ptr.dtype.element_ty), mask=inside_SB)


def logit_gradients(
    unit_ND: Tensor,
    embeddings_BD: Tensor,
    mask_NW: Tensor,
    weights_NK: Tensor | None,
    slope_KB: Tensor,
    *,
    scale: float,
    shift: float,
    filter_threshold: float | None,
    tiling: Tiling,
) -> tuple[Tensor, Tensor]:
    """Returns d loss / d cosine [N, B] in the products' dtype, and its sum over b times the cosine [N], float32.

    slope_KB: scale * d loss / d sum of each image, float32.

    The other arguments are the same as in ``negative_sums``.
    """
    count, dim = unit_ND.shape
    batch = embeddings_BD.shape[0]
    sums = slope_KB.shape[0]
    grid = (triton.cdiv(count, tiling.block_s), triton.cdiv(batch, tiling.block_b))
    gradient_NB = unit_ND.new_empty((count, batch))
    along = unit_ND.new_empty((grid[1], count), dtype=torch.float32)
    logit_gradients_kernel[grid](
        unit_ND,
        embeddings_BD,
        mask_NW,
        weights_NK,
        slope_KB,
        gradient_NB,
        along,
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
        K_PADDED=max(16, triton.next_power_of_2(sums)),
        **tiling.launch_options(),
    )
    return gradient_NB, along.sum(0)
