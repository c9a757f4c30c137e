"""The mask of skipped pairs: one bit per pair of a sampled center and an image, 1/32 of the size of float32 logits.

A pair is skipped if the center is no negative of the image: it is a tag of the image, or ignored for it.

Shape suffixes: B images, S sampled centers, X skipped classes of an image, W words of 32 images.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr


@triton.jit
def skipped_pairs_kernel(positions_ptr, mask_ptr, pairs_ptr, count, columns, words, BLOCK: constexpr):
    """Program i: entries of block i; the entries of an image are consecutive."""
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    position = tl.load(positions_ptr + entry, mask=entry < count, other=-1)
    image = entry // columns
    bit = (1 << (image % 32)).to(tl.int32)
    # Entries of one image, or of images in the same word, may be processed concurrently.
    before = tl.atomic_or(mask_ptr + position * words + image // 32, bit, mask=position >= 0, sem="relaxed")
    is_new = (position >= 0) & ((before & bit) == 0)
    tl.atomic_add(pairs_ptr, tl.sum(is_new.to(tl.int32)), sem="relaxed")


def skipped_pairs_mask(positions_BX: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the mask, int32 [S, W], and the number of set bits, int32 [1].

    Bit b % 32 of word b // 32 is set if image b skips the center at that position.

    positions_BX: position of each skipped class in the sample, int64; -1 if it is not sampled. A position may be
        repeated.
    """
    batch, columns = positions_BX.shape
    words = triton.cdiv(batch, 32)
    mask_SW = torch.zeros((size, words), dtype=torch.int32, device=positions_BX.device)
    pairs = torch.zeros(1, dtype=torch.int32, device=positions_BX.device)
    count = batch * columns
    if count and size:
        grid = (triton.cdiv(count, 1024),)
        skipped_pairs_kernel[grid](positions_BX.contiguous(), mask_SW, pairs, count, columns, words, BLOCK=1024)
    return mask_SW, pairs


@triton.jit
def is_skipped(mask_ptr, s, b, inside, words):
    """Returns whether image b skips center s, from ``skipped_pairs_mask``; s and b are broadcast."""
    word = tl.load(mask_ptr + s.to(tl.int64) * words + b // 32, mask=inside, other=0)
    return ((word >> (b % 32)) & 1) != 0
