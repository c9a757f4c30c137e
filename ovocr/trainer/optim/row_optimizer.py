"""Base class of optimizers for class centers: a step reads and writes only the touched rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ovocr.trainer.kernels.availability import Implementation, choose_implementation
from ovocr.trainer.kernels.workspace import Workspace
from ovocr.trainer.optim.row_gradients import RowGradient, touched_rows

# Rows are updated this many numbers at a time; on a CPU intermediate results then stay in the cache.
_CPU_CHUNK_ELEMENTS = 1 << 18
_DEVICE_CHUNK_ELEMENTS = 1 << 24


class RowOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer over parameters [rows, D] whose gradients are sparse COO over rows, or dense.

    A row that a step does not touch keeps its value and its state. Raises ValueError for a parameter that is not a
    matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        defaults: dict[str, Any],
        implementation: Implementation,
    ) -> None:
        if implementation not in ("auto", "torch", "triton"):
            raise ValueError(f"implementation must be 'auto', 'torch' or 'triton', not {implementation!r}")
        self.implementation = implementation
        super().__init__(params, defaults)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"implementation": self.implementation}  # torch saves only its own attributes

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group like torch; every parameter must be a matrix."""
        super().add_param_group(param_group)
        if any(parameter.dim() != 2 for parameter in self.param_groups[-1]["params"]):
            self.param_groups.pop()
            raise ValueError(f"{type(self).__name__} accepts only matrices")

    @abstractmethod
    def init_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """Returns the parameter's state, creating zeros if needed; the first dimension of each tensor is its rows."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Updates the touched rows of every parameter that has a gradient."""
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
            if not parameter.is_contiguous():
                raise ValueError("implementation 'triton' needs contiguous parameters; use 'torch'")
            gradient = RowGradient(gradient.rows, gradient.values.contiguous(), gradient.by_row)
            self._step_by_kernel(parameter, gradient, state, group)
            return
        elements = _CPU_CHUNK_ELEMENTS if parameter.device.type == "cpu" else _DEVICE_CHUNK_ELEMENTS
        size = max(1, elements // max(1, parameter.shape[1]))
        workspace = Workspace(parameter.device, parameter.dtype)
        factors = self._row_factors(gradient.rows, parameter.dtype, state, group)
        for first in range(0, gradient.count, size):
            last = min(first + size, gradient.count)
            rows, values = gradient.chunk(first, last)
            chunk = RowChunk(rows, workspace, [column[first:last] for column in factors])
            self._update(chunk, values, parameter, state, group)

    def _row_factors(
        self, rows: Tensor | None, dtype: torch.dtype, state: dict[str, Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        """Returns per-row factors, a column [rows, 1] each, computed once for all chunks."""
        return []

    @abstractmethod
    def _update(
        self,
        chunk: "RowChunk",
        gradient: Tensor,
        parameter: nn.Parameter,
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        """Updates these rows of the parameter and of its state in place; gradient: [rows, D]."""

    @abstractmethod
    def _step_by_kernel(
        self, parameter: nn.Parameter, gradient: RowGradient, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Updates all touched rows with a Triton kernel."""


class RowChunk:
    """Rows of several matrices: copies to change and write back, or views if the rows are a slice."""

    def __init__(self, rows: Tensor | slice, workspace: Workspace, factors: list[Tensor]) -> None:
        self.rows, self.factors, self._workspace = rows, factors, workspace

    def take(self, name: str, matrix: Tensor) -> Tensor:
        """Returns the rows of a matrix; ``put`` writes changes back."""
        if isinstance(self.rows, slice):
            return matrix[self.rows]
        out = self._workspace.matrix(name, self.rows.shape[0], matrix.shape[1])
        return torch.index_select(matrix, 0, self.rows, out=out)

    def put(self, matrix: Tensor, values: Tensor) -> None:
        """Writes back rows obtained from ``take``."""
        if not isinstance(self.rows, slice):
            matrix.index_copy_(0, self.rows, values)

    def scratch(self, like: Tensor) -> Tensor:
        """Returns memory for a result of the same shape."""
        return self._workspace.matrix("scratch", *like.shape)
