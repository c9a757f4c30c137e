"""RowSGD's update in one pass over the touched rows: each number is read once and written once."""

import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr


@triton.jit
def row_sgd_kernel(
    weight_ptr,
    momentum_ptr,
    gradient_ptr,
    rows_ptr,
    dim,
    lr,
    momentum,
    weight_decay,
    HAS_ROWS: constexpr,
    BY_ROW: constexpr,
    BLOCK_D: constexpr,
):
    """Program i: the i-th touched row."""
    position = tl.program_id(0).to(tl.int64)
    row = tl.load(rows_ptr + position) if HAS_ROWS else position
    source = row if BY_ROW else position
    for first in range(0, dim, BLOCK_D):
        d_D = first + tl.arange(0, BLOCK_D)
        inside_D = d_D < dim
        gradient_D = tl.load(gradient_ptr + source * dim + d_D, mask=inside_D, other=0.0)
        weight_D = tl.load(weight_ptr + row * dim + d_D, mask=inside_D, other=0.0)
        momentum_D = tl.load(momentum_ptr + row * dim + d_D, mask=inside_D, other=0.0)
        momentum_D = momentum_D * momentum + gradient_D + weight_decay * weight_D
        tl.store(momentum_ptr + row * dim + d_D, momentum_D, mask=inside_D)
        tl.store(weight_ptr + row * dim + d_D, weight_D - lr * momentum_D, mask=inside_D)


def update_rows(
    weight_CD: Tensor,
    momentum_CD: Tensor,
    gradient: Tensor,
    rows: Tensor | None,
    *,
    gradient_by_row: bool,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """Updates rows and their momentum in place; all float32. For rows and gradient see ``row_adamw.update_rows``."""
    count, dim = weight_CD.shape if rows is None else (rows.shape[0], weight_CD.shape[1])
    if count == 0:
        return
    row_sgd_kernel[(count,)](
        weight_CD,
        momentum_CD,
        gradient,
        rows,
        dim,
        lr,
        momentum,
        weight_decay,
        HAS_ROWS=rows is not None,
        BY_ROW=gradient_by_row,
        BLOCK_D=min(1024, triton.next_power_of_2(dim)),
        num_warps=4,
    )
