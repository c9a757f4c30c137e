"""Optimizers for class centers: a step reads and writes only the rows that the sample touched."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ovocr.trainer.row_gradients import RowGradient, touched_rows
from ovocr.trainer.triton_availability import choose_implementation

Implementation: TypeAlias = Literal["auto", "torch", "triton"]

# On a CPU, rows are updated this many numbers at a time, so that intermediate results stay in the cache.
_CHUNK_ELEMENTS = {"cpu": 1 << 16, "cuda": 1 << 24}


class RowOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer over parameters [rows, D] whose gradients are sparse COO over rows, or dense.

    A row that a step does not touch keeps its value and its state. Raises ValueError for a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        defaults: dict[str, Any],
        implementation: Implementation,
    ) -> None:
        super().__init__(params, defaults)
        self.implementation = implementation
        for group in self.param_groups:
            if any(parameter.dim() != 2 for parameter in group["params"]):
                raise ValueError(f"{type(self).__name__} takes matrices of rows")

    @abstractmethod
    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The parameter's state, made of zeros if it has none yet; the first dimension of each is its rows."""

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
                    self._step_rows(parameter, touched_rows(parameter.grad), self.init_state(parameter), group)
        return loss

    def _step_rows(
        self, parameter: nn.Parameter, gradient: RowGradient, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        if choose_implementation(self.implementation, parameter) == "triton":
            self._step_by_kernel(parameter, gradient, state, group)
            return
        size = max(1, _CHUNK_ELEMENTS[parameter.device.type] // parameter.shape[1])
        for first in range(0, gradient.count, size):
            rows, values = gradient.chunk(first, min(first + size, gradient.count))
            self._update(rows, values, parameter, state, group)

    @abstractmethod
    def _update(
        self,
        rows: Tensor | slice,
        gradient: Tensor,
        parameter: nn.Parameter,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        """Update these rows of the parameter and of its state, in place; gradient: [rows, D]."""

    @abstractmethod
    def _step_by_kernel(
        self, parameter: nn.Parameter, gradient: RowGradient, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """The same for all touched rows at once, by a Triton kernel."""


def take_rows(matrix: Tensor, rows: Tensor | slice) -> Tensor:
    """These rows: a view for a slice, a copy for row numbers; ``put_rows`` brings changes of either back."""
    return matrix[rows] if isinstance(rows, slice) else matrix.index_select(0, rows)


def put_rows(matrix: Tensor, rows: Tensor | slice, values: Tensor) -> None:
    """Write rows back that ``take_rows`` gave."""
    if not isinstance(rows, slice):
        matrix.index_copy_(0, rows, values)
