"""RowAdamW's update in one pass over the touched rows: each number is read once and written once."""

import math

import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr


@triton.jit
def row_adamw_kernel(
    weight_ptr,
    mean_ptr,
    square_ptr,
    steps_ptr,
    gradient_ptr,
    rows_ptr,
    dim,
    lr,
    rest1,  # 1 - beta, passed in because float32 would leave it five digits
    rest2,
    log_beta1,
    log_beta2,
    eps,
    decay,
    HAS_ROWS: constexpr,
    BY_ROW: constexpr,
    BLOCK_D: constexpr,
):
    """Program i: the i-th touched row."""
    position = tl.program_id(0).to(tl.int64)
    row = tl.load(rows_ptr + position) if HAS_ROWS else position
    step = tl.load(steps_ptr + row) + 1.0
    # Computed in float64: 1 - 0.999**1 has only three digits left in float32.
    wide = step.to(tl.float64)
    correction1 = (1.0 - tl.exp(wide * log_beta1)).to(tl.float32)
    correction2 = (1.0 - tl.exp(wide * log_beta2)).to(tl.float32)
    source = row if BY_ROW else position
    for first in range(0, dim, BLOCK_D):
        d_D = first + tl.arange(0, BLOCK_D)
        inside_D = d_D < dim
        gradient_D = tl.load(gradient_ptr + source * dim + d_D, mask=inside_D, other=0.0)
        mean_D = tl.load(mean_ptr + row * dim + d_D, mask=inside_D, other=0.0)
        square_D = tl.load(square_ptr + row * dim + d_D, mask=inside_D, other=0.0)
        weight_D = tl.load(weight_ptr + row * dim + d_D, mask=inside_D, other=0.0)
        mean_D = mean_D + (gradient_D - mean_D) * rest1
        square_D = square_D + (gradient_D * gradient_D - square_D) * rest2
        update_D = (mean_D / correction1) / (tl.sqrt(square_D / correction2) + eps)
        weight_D = weight_D * decay - lr * update_D
        tl.store(mean_ptr + row * dim + d_D, mean_D, mask=inside_D)
        tl.store(square_ptr + row * dim + d_D, square_D, mask=inside_D)
        tl.store(weight_ptr + row * dim + d_D, weight_D, mask=inside_D)
    tl.store(steps_ptr + row, step)


def update_rows(
    weight_CD: Tensor,
    mean_CD: Tensor,
    square_CD: Tensor,
    steps_C: Tensor,
    gradient: Tensor,
    rows: Tensor | None,
    *,
    gradient_by_row: bool,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """Updates the rows, their moments and their step counts in place; all float32.

    rows: row numbers, int64, each once; None selects all rows.
    gradient: one row per entry of rows, in that order, or with gradient_by_row one per row of the weight.
    """
    count, dim = weight_CD.shape if rows is None else (rows.shape[0], weight_CD.shape[1])
    if count == 0:
        return
    row_adamw_kernel[(count,)](
        weight_CD,
        mean_CD,
        square_CD,
        steps_C,
        gradient,
        rows,
        dim,
        lr,
        1.0 - betas[0],
        1.0 - betas[1],
        math.log(betas[0]) if betas[0] else -1e30,
        math.log(betas[1]) if betas[1] else -1e30,
        eps,
        1.0 - lr * weight_decay,
        HAS_ROWS=rows is not None,
        BY_ROW=gradient_by_row,
        BLOCK_D=min(1024, triton.next_power_of_2(dim)),
        num_warps=4,
    )
