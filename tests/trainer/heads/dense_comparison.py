"""Inputs for tests of ``PartialFC``, and the comparison of a step with the dense reference of conftest.py."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC

ARCFACE, COSFACE = Margin(), Margin(m2=0.0, m3=0.3)
SAMPLINGS = [("independent", 0.1), ("independent", 0.5), ("shared", 0.1), ("shared", 0.5), ("independent", 1.0)]


def random_inputs(
    batch: int = 7, dim: int = 13, classes: int = 101, stored: int = 11, *, seed: int = 0
) -> tuple[Tensor, ...]:
    """Returns float64 embeddings, class centers and labels of sizes that are not multiples of tiles."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(batch, dim, generator=generator, dtype=torch.float64)
    weight = torch.randn(classes, dim, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes, (batch, stored), generator=generator)
    return embeddings, weight, labels


def head_with(weight: Tensor, **options: Any) -> PartialFC:
    if options.get("implementation") == "triton":
        weight = weight.float()
    head = PartialFC(weight.shape[1], weight.shape[0], **{"labels_per_sample": 5, "seed": 3, **options})
    head.weight = torch.nn.Parameter(weight.clone())
    return head


def device_of(head: PartialFC) -> str:
    """Returns the device for tests of the head's implementation."""
    return "cuda" if head.implementation == "triton" and torch.cuda.is_available() else "cpu"


def check(
    head: PartialFC,
    embeddings: Tensor,
    labels: Tensor,
    dense: Callable[..., Tensor],
    tolerance: float | None = None,
    ignored: Tensor | None = None,
) -> None:
    """Checks loss and gradients of a step; tolerance: relative, by default the tolerance for the head's precision."""
    if tolerance is None:
        tolerance = 1e-10 if head.weight.dtype == torch.float64 else 2e-5
    if head.weight.dtype == torch.float32 and embeddings.dtype == torch.float64:
        embeddings = embeddings.float()
    wanted_embeddings = embeddings.detach().to(torch.float64, copy=True).requires_grad_()
    wanted_weight = head.weight.detach().to(torch.float64, copy=True).requires_grad_()
    wanted = dense(head, wanted_embeddings, wanted_weight, labels, ignored)
    wanted.backward()
    # A head draws the same samples on any device.
    device = device_of(head)
    head = head.to(device)
    leaf = embeddings.to(device, copy=True).requires_grad_()
    loss = head(leaf, labels, ignored)
    loss.backward()
    gradient = head.weight.grad
    assert gradient.is_sparse == (head.sample_rate < 1.0)
    if gradient.is_sparse:
        assert (gradient._indices()[0].diff() > 0).all()
    pairs = [(loss, wanted), (leaf.grad, wanted_embeddings.grad), (gradient.to_dense(), wanted_weight.grad)]
    for name, (found, expected) in zip(("loss", "embeddings", "centers"), pairs, strict=True):
        scale = expected.detach().abs().max().clamp_min(1e-30)
        assert ((found.double().cpu() - expected).abs().max() / scale).item() < tolerance, name
