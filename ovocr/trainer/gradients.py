"""What happens to gradients between the backward pass and the optimizer: summed over ranks, measured, clipped."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ovocr.trainer.distributed import Ranks


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


def squared_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Sum of the squares of all gradients that are there, a float32 scalar on their device."""
    total: Tensor | None = None
    for parameter in parameters:
        if parameter.grad is not None:
            square = _values(parameter.grad).float().square().sum()
            total = square if total is None else total + square
    return torch.zeros(()) if total is None else total


def scale_gradients(parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Multiply all gradients by limit / norm where the norm is above the limit. Never waits for the device."""
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        if parameter.grad is not None:
            values = _values(parameter.grad)
            values.mul_(factor.to(values.dtype))


def clip_replicated(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """Clip parameters that every rank holds alike; returns the norm before clipping."""
    norm = squared_norm(parameters).sqrt()
    scale_gradients(parameters, norm, limit)
    return norm


def clip_sharded(parameters: list[nn.Parameter], limit: float, ranks: Ranks) -> Tensor:
    """Clip rows that are spread over ranks by the norm of all of them; returns the norm before clipping."""
    norm = ranks.sum(squared_norm(parameters)).sqrt()
    scale_gradients(parameters, norm, limit)
    return norm


def _values(gradient: Tensor) -> Tensor:
    """The stored numbers of a gradient: a sparse one is coalesced by the head that made it."""
    return gradient._values() if gradient.is_sparse else gradient
