"""Gradient clipping by the norm over all ranks."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ovocr.trainer.optim.row_gradients import touched_rows


def squared_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Returns the sum of squares of all gradients on this rank, float32 [1]."""
    squares = []
    for parameter in parameters:
        if parameter.grad is not None:
            values = touched_rows(local_part(parameter.grad)).values
            squares.append(torch.linalg.vector_norm(values, dtype=torch.float32).square())
        else:
            squares.append(torch.zeros((), device=local_part(parameter).device))
    return torch.stack(squares).sum().view(1)


def clip(parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Multiplies all gradients by limit / norm if the norm exceeds the limit."""
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        if parameter.grad is not None:
            # Repeated rows need not be merged first: their parts are scaled alike.
            gradient = local_part(parameter.grad)
            values = gradient._values() if gradient.is_sparse else gradient
            values.mul_(factor.to(values.dtype))


@torch.no_grad()
def local_part(tensor: Tensor) -> Tensor:
    """Returns this rank's rows of a tensor that is split over ranks (same storage); any other tensor unchanged."""
    # Tests for the method because importing DTensor takes more than a second, and a single rank does not need it.
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
