"""What happens to gradients between the backward pass and the optimizer: summed over ranks, measured, clipped."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ovocr.trainer.distributed import Ranks
from ovocr.trainer.row_gradients import touched_rows


def sum_over_ranks(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Add up the gradients of parameters that every rank holds, in place, in one message per dtype.

    Summed, not averaged: the heads' gradients are already those of the global batch's mean.
    """
    if ranks.world == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        # A rank whose part of the batch was empty has no gradient, but must send as many numbers as the others.
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_dtype.values():
        flat = ranks.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def clip_replicated(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """Clip parameters that every rank holds alike; returns the norm before clipping."""
    norm = _squared_norm(parameters).sqrt()
    _scale(parameters, norm, limit)
    return norm


def clip_sharded(parameters: list[nn.Parameter], limit: float, ranks: Ranks) -> Tensor:
    """Clip rows that are spread over ranks by the norm of all of them; returns the norm before clipping."""
    norm = ranks.sum(_squared_norm(parameters)).sqrt()
    _scale(parameters, norm, limit)
    return norm


def _squared_norm(parameters: list[nn.Parameter]) -> Tensor:
    total = torch.zeros((), device=parameters[0].device)
    for parameter in parameters:
        if parameter.grad is not None:
            values = touched_rows(parameter.grad).values
            total += torch.linalg.vector_norm(values, dtype=torch.float32).square()
    return total


def _scale(parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Multiply all gradients by limit / norm where the norm is above the limit."""
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        if parameter.grad is not None:
            # A row that stands twice need not be added up for this: its parts are scaled alike.
            values = parameter.grad._values() if parameter.grad.is_sparse else parameter.grad
            values.mul_(factor.to(values.dtype))
