"""What happens to gradients between the backward pass and the optimizer: measured over all ranks and clipped."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ovocr.trainer.optim.row_gradients import touched_rows


def squared_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The sum of the squares of all gradients that this rank holds, float32 [1]."""
    squares = []
    for parameter in parameters:
        if parameter.grad is not None:
            values = touched_rows(local_part(parameter.grad)).values
            squares.append(torch.linalg.vector_norm(values, dtype=torch.float32).square())
        else:
            squares.append(torch.zeros((), device=local_part(parameter).device))
    return torch.stack(squares).sum().view(1)


def clip(parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Multiply all gradients by limit / norm where the norm is above the limit."""
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        if parameter.grad is not None:
            # A row that stands twice need not be added up for this: its parts are scaled alike.
            gradient = local_part(parameter.grad)
            values = gradient._values() if gradient.is_sparse else gradient
            values.mul_(factor.to(values.dtype))


@torch.no_grad()
def local_part(tensor: Tensor) -> Tensor:
    """This rank's rows of a tensor that is spread over ranks (the same storage); any other tensor as it is."""
    # By its method: importing DTensor takes more than a second, and a single rank has none.
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
