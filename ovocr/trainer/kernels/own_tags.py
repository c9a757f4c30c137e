"""The own-tag mask: one bit per pair of a sampled center and an image, 1/32 of the size of float32 logits."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr


@triton.jit
def own_tags_kernel(positions_ptr, mask_ptr, pairs_ptr, count, tags, words, BLOCK: constexpr):
    """Program i: tags of block i; the tags of an image are consecutive."""
    tag = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    position = tl.load(positions_ptr + tag, mask=tag < count, other=-1)
    image = tag // tags
    bit = (1 << (image % 32)).to(tl.int32)
    # Tags of one image, or of images in the same word, may be processed concurrently.
    before = tl.atomic_or(mask_ptr + position * words + image // 32, bit, mask=position >= 0, sem="relaxed")
    is_new = (position >= 0) & ((before & bit) == 0)
    tl.atomic_add(pairs_ptr, tl.sum(is_new.to(tl.int32)), sem="relaxed")


def own_tag_mask(positions_BT: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the mask, int32 [size, words of 32 images], and the number of set bits, int32 [1].

    Bit b % 32 of word b // 32 is set if image b has a tag at that position.

    positions_BT: position of each tag in the sample, int64; -1 if it is not sampled.
    """
    batch, tags = positions_BT.shape
    words = triton.cdiv(batch, 32)
    mask = torch.zeros((size, words), dtype=torch.int32, device=positions_BT.device)
    pairs = torch.zeros(1, dtype=torch.int32, device=positions_BT.device)
    count = batch * tags
    if count and size:
        grid = (triton.cdiv(count, 1024),)
        own_tags_kernel[grid](positions_BT.contiguous(), mask, pairs, count, tags, words, BLOCK=1024)
    return mask, pairs


@triton.jit
def is_own(mask_ptr, s, b, inside, words):
    """Returns whether center s is an own tag of image b, from ``own_tag_mask``; s and b are broadcast."""
    word = tl.load(mask_ptr + s.to(tl.int64) * words + b // 32, mask=inside, other=0)
    return ((word >> (b % 32)) & 1) != 0
