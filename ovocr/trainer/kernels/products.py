"""Tile products in dtypes that the tensor cores support."""

import triton
import triton.language as tl
from triton.language import constexpr

from ovocr.trainer.kernels.availability import is_interpreted

_INTERPRETED: constexpr = constexpr(is_interpreted())


@triton.jit
def add_product(sum_MN, left_MK, right_KN, PRECISION: constexpr):
    """Returns sum + left @ right, accumulated in float32."""
    if _INTERPRETED:
        # The interpreter multiplies bfloat16 bits as integers; float32 gives the same products.
        left_MK = left_MK.to(tl.float32)
        right_KN = right_KN.to(tl.float32)
    return tl.dot(left_MK, right_KN, sum_MN, input_precision=PRECISION)
