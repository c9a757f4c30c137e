"""AdamW for class centers.

Source: decoupled weight decay (arXiv 1711.05101). What differs from torch.optim.AdamW under a sparse gradient: an
untouched row keeps its value and its moments (dense AdamW would go on decaying both and moving it), and bias correction
follows the row's own count of steps, so a row first touched at step 1,000 moves by lr as a fresh parameter does. With a
dense gradient every row is touched, and the two are the same.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ovocr.trainer.row_gradients import RowGradient
from ovocr.trainer.row_optimizer import Implementation, RowOptimizer, put_rows, take_rows


class RowAdamW(RowOptimizer):
    """AdamW over parameters [rows, D] whose gradients are sparse COO over rows, or dense.

    implementation: "torch" (any device), "triton" (CUDA), "auto": the best one there is for the device.
    State of a parameter: ``row_steps`` float32 [rows], ``exp_avg`` and ``exp_avg_sq`` [rows, D].
    Raises ValueError for hyper-parameters out of range or a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        implementation: Implementation = "auto",
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"lr, eps and weight_decay must be at least 0, betas in [0, 1): {lr=} {eps=} {betas=}")
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults, implementation)

    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The parameter's state, made of zeros if it has none yet."""
        state = self.state[parameter]
        if not state:
            state["row_steps"] = torch.zeros(parameter.shape[0], device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state

    def _update(
        self,
        rows: Tensor | slice,
        gradient: Tensor,
        parameter: nn.Parameter,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        beta1, beta2 = group["betas"]
        step = take_rows(state["row_steps"], rows).add_(1.0)
        put_rows(state["row_steps"], rows, step)
        mean = take_rows(state["exp_avg"], rows).lerp_(gradient, 1.0 - beta1)
        put_rows(state["exp_avg"], rows, mean)
        square = take_rows(state["exp_avg_sq"], rows).mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        put_rows(state["exp_avg_sq"], rows, square)
        # 1 - 0.999**1 has only three digits left in float32: the corrections, one a row, are worked out in float64.
        wide = step.double().unsqueeze(1)
        root = (1.0 - beta2**wide).sqrt_()
        # lr (m / c1) / (sqrt(v / c2) + eps) = lr sqrt(c2) / c1 * m / (sqrt(v) + eps sqrt(c2)): one pass less.
        denominator = square.sqrt().add_((group["eps"] * root).to(square.dtype))
        update = denominator.reciprocal_().mul_(mean).mul_((group["lr"] * root / (1.0 - beta1**wide)).to(mean.dtype))
        weight = take_rows(parameter, rows).mul_(1.0 - group["lr"] * group["weight_decay"]).sub_(update)
        put_rows(parameter, rows, weight)

    def _step_by_kernel(
        self, parameter: nn.Parameter, gradient: RowGradient, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        from ovocr.trainer.kernels.row_adamw import update_rows

        update_rows(
            parameter,
            state["exp_avg"],
            state["exp_avg_sq"],
            state["row_steps"],
            gradient.values,
            gradient.rows,
            gradient_by_row=gradient.by_row,
            lr=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
        )
