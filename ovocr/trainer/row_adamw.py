"""AdamW for class centers: a step reads and writes only the rows that the sample touched.

Source: decoupled weight decay (arXiv 1711.05101). What differs from torch.optim.AdamW under a sparse gradient: an
untouched row keeps its value and its moments (dense AdamW would go on decaying both and moving it), and bias correction
follows the row's own count of steps, so a row first touched at step 1,000 moves by lr as a fresh parameter does. With a
dense gradient every row is touched, and the two are the same.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ovocr.trainer.row_gradients import touched_rows

_CHUNK_ELEMENTS = 1 << 20  # rows are updated this many numbers at a time, so that intermediate results stay in cache


class RowAdamW(torch.optim.Optimizer):
    """AdamW over parameters [rows, D] whose gradients are sparse COO over rows, or dense.

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
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"lr, eps and weight_decay must be at least 0, betas in [0, 1): {lr=} {eps=} {betas=}")
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay})
        for group in self.param_groups:
            if any(parameter.dim() != 2 for parameter in group["params"]):
                raise ValueError("RowAdamW takes matrices of rows")

    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The parameter's state, made of zeros if it has none yet."""
        state = self.state[parameter]
        if not state:
            state["row_steps"] = torch.zeros(parameter.shape[0], device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the touched rows of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    for rows, gradient in _touched(parameter.grad):
                        _update(parameter, rows, gradient, self.init_state(parameter), group)
        return loss


def _touched(gradient: Tensor) -> Iterator[tuple[Tensor | slice, Tensor]]:
    """Chunks of the touched rows and their gradients."""
    indices, values = touched_rows(gradient)
    size = max(1, _CHUNK_ELEMENTS // max(1, values.shape[1]))
    for start in range(0, values.shape[0], size):
        stop = min(start + size, values.shape[0])
        yield slice(start, stop) if indices is None else indices[start:stop], values[start:stop]


def _update(
    parameter: Tensor, rows: Tensor | slice, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
) -> None:
    beta1, beta2 = group["betas"]
    # Indexing by a tensor copies rows out, indexing by a slice gives a view: writing back serves both.
    step = state["row_steps"][rows] + 1.0
    mean = torch.lerp(state["exp_avg"][rows], gradient, 1.0 - beta1)
    square = state["exp_avg_sq"][rows].mul(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
    state["row_steps"][rows], state["exp_avg"][rows], state["exp_avg_sq"][rows] = step, mean, square
    # 1 - 0.999**1 has only three digits left in float32: the corrections, one a row, are worked out in float64.
    correction1, correction2 = (
        (1.0 - beta ** step.double()).to(parameter.dtype).unsqueeze(1) for beta in (beta1, beta2)
    )
    denominator = square.div_(correction2).sqrt_().add_(group["eps"])
    update = mean.div_(correction1).div_(denominator)
    decayed = parameter[rows] * (1.0 - group["lr"] * group["weight_decay"])
    parameter[rows] = decayed.add_(update, alpha=-group["lr"])
