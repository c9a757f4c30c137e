"""The own-tag mask: one bit for each pair of a sampled center and an image, 1/32 of the logits in float32."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr


@triton.jit
def own_tags_kernel(positions_ptr, mask_ptr, pairs_ptr, count, tags, words, BLOCK: constexpr):
    """Program i: tags of block i, an image's one after the other."""
    tag = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    position = tl.load(positions_ptr + tag, mask=tag < count, other=-1)
    image = tag // tags
    bit = (1 << (image % 32)).to(tl.int32)
    # Two tags of one image, or two images of one word, may be at work at once.
    before = tl.atomic_or(mask_ptr + position * words + image // 32, bit, mask=position >= 0, sem="relaxed")
    is_new = (position >= 0) & ((before & bit) == 0)
    tl.atomic_add(pairs_ptr, tl.sum(is_new.to(tl.int32)), sem="relaxed")


def own_tag_mask(positions_BT: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """int32 [size, words of 32 images]: bit b % 32 of word b // 32 is set where image b has a tag at that position.

    And the number of such pairs, int32 [1]. positions_BT: where each tag stands in the sample, int64; -1: nowhere.
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
    """Whether center s is an own tag of image b, from the bits of ``own_tag_mask``; s and b are broadcast."""
    word = tl.load(mask_ptr + s.to(tl.int64) * words + b // 32, mask=inside, other=0)
    return ((word >> (b % 32)) & 1) != 0
