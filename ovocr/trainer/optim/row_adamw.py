"""AdamW for class centers.

Source: decoupled weight decay (arXiv 1711.05101). Differs from torch.optim.AdamW for sparse gradients: an untouched row
    keeps its value and moments (dense AdamW would decay both and move it), and bias correction uses the row's own step
    count, so a row first touched at step 1,000 moves by lr like a fresh parameter. With a dense gradient every row is
    touched and the two are equal.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ovocr.trainer.kernels.availability import Implementation
from ovocr.trainer.optim.row_gradients import RowGradient
from ovocr.trainer.optim.row_optimizer import RowChunk, RowOptimizer


class RowAdamW(RowOptimizer):
    """AdamW over parameters [rows, D] whose gradients are sparse COO over rows, or dense.

    implementation: "torch" (any device), "triton" (CUDA) or "auto" (the fastest one available for the device).

    State of a parameter: ``row_steps`` float32 [rows], ``exp_avg`` and ``exp_avg_sq`` [rows, D].

    Raises ValueError for hyper-parameters out of range or a parameter that is not a matrix.
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
        if not (lr >= 0 and eps >= 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"lr, eps and weight_decay must be at least 0, betas in [0, 1): {lr=} {eps=} {betas=}")
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults, implementation)

    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """Returns the parameter's state; creates it, all zeros, if it does not exist yet."""
        state = self.state[parameter]
        if not state:
            state["row_steps"] = torch.zeros(parameter.shape[0], device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the state and keeps ``row_steps`` in float32.

        torch would cast it to the parameter's dtype, and bfloat16 cannot count beyond 256.
        """
        super().load_state_dict(state_dict)
        for saved, own in zip(state_dict["param_groups"], self.param_groups, strict=True):
            for number, parameter in zip(saved["params"], own["params"], strict=True):
                if number in state_dict["state"]:
                    steps = state_dict["state"][number]["row_steps"]
                    self.state[parameter]["row_steps"] = steps.to(parameter.device, torch.float32, copy=True)

    def _row_factors(
        self, rows: Tensor | None, dtype: torch.dtype, state: dict[str, Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        beta1, beta2 = group["betas"]
        touched = slice(None) if rows is None else rows
        step = state["row_steps"][touched] + 1.0
        state["row_steps"][touched] = step
        # The corrections c1, c2 are computed in float64: 1 - 0.999**1 has only three digits left in float32.
        wide = step.double().unsqueeze(1)
        root = (1.0 - beta2**wide).sqrt_()
        correction1 = 1.0 - beta1**wide
        # lr (m / c1) / (sqrt(v / c2) + eps) = lr m / (sqrt(v) c1 / sqrt(c2) + eps c1)
        return [(correction1 / root).to(dtype), (group["eps"] * correction1).to(dtype)]

    def _update(
        self,
        chunk: RowChunk,
        gradient: Tensor,
        parameter: nn.Parameter,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        beta1, beta2 = group["betas"]
        factor, smallest = chunk.factors
        mean = chunk.take("mean", state["exp_avg"]).lerp_(gradient, 1.0 - beta1)
        chunk.put(state["exp_avg"], mean)
        square = chunk.take("square", state["exp_avg_sq"]).mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        chunk.put(state["exp_avg_sq"], square)
        root = torch.sqrt(square, out=chunk.scratch(square))
        denominator = torch.addcmul(smallest, root, factor, out=root)
        weight = chunk.take("weight", parameter).mul_(1.0 - group["lr"] * group["weight_decay"])
        chunk.put(parameter, weight.addcdiv_(mean, denominator, value=-group["lr"]))

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
