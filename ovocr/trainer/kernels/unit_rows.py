"""Gathers class centers by row number, divides each by its length and rounds to the dtype of the products."""

import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr


@triton.jit
def unit_rows_kernel(
    weight_ptr,
    rows_ptr,
    unit_ptr,
    inverse_ptr,
    count,
    first_row,
    dim,
    smallest_length,
    HAS_ROWS: constexpr,
    BLOCK_S: constexpr,
    BLOCK_D: constexpr,
):
    """Program i: rows of block i."""
    s_S = tl.program_id(0) * BLOCK_S + tl.arange(0, BLOCK_S)
    inside_S = s_S < count
    if HAS_ROWS:
        row_S = tl.load(rows_ptr + s_S, mask=inside_S, other=0)
    else:
        row_S = (first_row + s_S).to(tl.int64)
    # Each row is read twice, the second time from the cache.
    squares_S = tl.zeros([BLOCK_S], dtype=tl.float32)
    for first in range(0, dim, BLOCK_D):
        d_D = first + tl.arange(0, BLOCK_D)
        inside_SD = inside_S[:, None] & (d_D < dim)[None, :]
        value_SD = tl.load(weight_ptr + row_S[:, None] * dim + d_D[None, :], mask=inside_SD, other=0.0).to(tl.float32)
        squares_S += tl.sum(value_SD * value_SD, axis=1)
    inverse_S = 1.0 / tl.maximum(tl.sqrt(squares_S), smallest_length)
    tl.store(inverse_ptr + s_S, inverse_S, mask=inside_S)
    for first in range(0, dim, BLOCK_D):
        d_D = first + tl.arange(0, BLOCK_D)
        inside_SD = inside_S[:, None] & (d_D < dim)[None, :]
        value_SD = tl.load(weight_ptr + row_S[:, None] * dim + d_D[None, :], mask=inside_SD, other=0.0).to(tl.float32)
        offset_SD = s_S.to(tl.int64)[:, None] * dim + d_D[None, :]
        tl.store(unit_ptr + offset_SD, (value_SD * inverse_S[:, None]).to(unit_ptr.dtype.element_ty), mask=inside_SD)


def gather_unit_rows(
    weight_CD: Tensor, rows_N: Tensor | None, first_row: int, unit_ND: Tensor, inverse_N: Tensor, smallest_length: float
) -> None:
    """Fills unit_ND with N rows of the weight divided by their lengths, and inverse_N (float32) with 1 / length.

    rows_N: row numbers, int64; None selects the N rows from first_row on.
    smallest_length: lengths are clamped to this minimum.
    """
    count, dim = unit_ND.shape
    block_d = min(1024, triton.next_power_of_2(dim))
    block_s = max(1, 4096 // block_d)
    unit_rows_kernel[(triton.cdiv(count, block_s),)](
        weight_CD,
        rows_N,
        unit_ND,
        inverse_N,
        count,
        first_row,
        dim,
        smallest_length,
        HAS_ROWS=rows_N is not None,
        BLOCK_S=block_s,
        BLOCK_D=block_d,
        num_warps=4,
    )
