"""SGD with momentum for class centers.

Differs from torch.optim.SGD for sparse gradients: an untouched row keeps its value and momentum. With a dense gradient
the two are equal.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ovocr.trainer.kernels.availability import Implementation
from ovocr.trainer.optim.row_gradients import RowGradient
from ovocr.trainer.optim.row_optimizer import RowChunk, RowOptimizer


class RowSGD(RowOptimizer):
    """SGD with momentum over parameters [rows, D] whose gradients are sparse COO over rows, or dense.

    implementation: "torch" (any device), "triton" (CUDA) or "auto" (the fastest one available for the device).

    State of a parameter: ``momentum_buffer`` [rows, D].

    Raises ValueError for hyper-parameters out of range or a parameter that is not a matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        *,
        implementation: Implementation = "auto",
    ) -> None:
        if not (lr >= 0 and weight_decay >= 0 and 0 <= momentum < 1):
            raise ValueError(f"lr and weight_decay must be at least 0, momentum in [0, 1): {lr=} {momentum=}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}, implementation)

    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """Returns the parameter's state; creates it, all zeros, if it does not exist yet."""
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state

    def _update(
        self,
        chunk: RowChunk,
        gradient: Tensor,
        parameter: nn.Parameter,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        weight = chunk.take("weight", parameter)
        momentum = chunk.take("momentum", state["momentum_buffer"]).mul_(group["momentum"]).add_(gradient)
        momentum.add_(weight, alpha=group["weight_decay"])
        chunk.put(state["momentum_buffer"], momentum)
        chunk.put(parameter, weight.sub_(momentum, alpha=group["lr"]))

    def _step_by_kernel(
        self, parameter: nn.Parameter, gradient: RowGradient, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        from ovocr.trainer.kernels.row_sgd import update_rows

        update_rows(
            parameter,
            state["momentum_buffer"],
            gradient.values,
            gradient.rows,
            gradient_by_row=gradient.by_row,
            lr=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
        )
