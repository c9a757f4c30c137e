"""The own-tag mask: one bit for each pair of a sampled center and an image, 1/32 of the logits in float32."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr


@triton.jit
def own_tags_kernel(positions_ptr, mask_ptr, count, tags, words, BLOCK: constexpr):
    """Program i: pairs of block i, an image's tags one after the other."""
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    position = tl.load(positions_ptr + pair, mask=pair < count, other=-1)
    image = pair // tags
    bit = (1 << (image % 32)).to(tl.int32)
    # Two tags of one image, or two images of one word, may be at work at once.
    tl.atomic_or(mask_ptr + position * words + image // 32, bit, mask=position >= 0, sem="relaxed")


def own_tag_mask(positions_BT: Tensor, size: int) -> Tensor:
    """int32 [size, words of 32 images]: bit b % 32 of word b // 32 is set where image b has a tag at that position.

    positions_BT: where each tag stands in the sample, int64; -1: nowhere.
    """
    batch, tags = positions_BT.shape
    words = triton.cdiv(batch, 32)
    mask = torch.zeros((size, words), dtype=torch.int32, device=positions_BT.device)
    count = batch * tags
    if count and size:
        own_tags_kernel[(triton.cdiv(count, 1024),)](positions_BT.contiguous(), mask, count, tags, words, BLOCK=1024)
    return mask


@triton.jit
def is_own(mask_ptr, s_S, b_B, inside_SB, words):
    """Whether center s is an own tag of image b, from the bits of ``own_tag_mask``."""
    word_SB = tl.load(mask_ptr + s_S.to(tl.int64)[:, None] * words + (b_B // 32)[None, :], mask=inside_SB, other=0)
    return ((word_SB >> (b_B % 32)[None, :]) & 1) != 0
