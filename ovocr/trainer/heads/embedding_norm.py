"""Batch normalisation of embeddings over all ranks, without a learned scale.

A cosine to a class center is blind to how far embeddings are from their common mean: where all of them begin close
together, as a backbone's do that has learned nothing, they can be drawn to one point before they tell any pictures
apart. Normalised by channel they keep a spread, if only along one direction. Normalised to mean zero, though, they have
nothing in common by which a class center could be close to all of them, as that of a frequent class should be: so they
are moved by a constant. ArcFace (arXiv 1801.07698, section 3.1) and UNICOM (arXiv 2304.05884) end their backbones like
this; the shift is learned there. Here its direction is as good as any, since centers turn towards it. torch's own
SyncBatchNorm runs on CUDA alone.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ovocr.trainer.ranks.distributed import Ranks

_EPSILON = 1e-5
_MOMENTUM = 0.3  # share of a batch in the running statistics: they are to follow embeddings that move within few steps
# Of every channel. A quarter of a deviation is about what a small encoder came to when the shift was learned.
_SHIFT = 0.25


class EmbeddingNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) + 0.25 by channel: of the global batch in training, else of those seen.

    running_mean, running_variance: float32 [D], the same on every rank.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(embedding_dim))
        self.register_buffer("running_variance", torch.ones(embedding_dim))

    def forward(self, embeddings_bD: Tensor, ranks: Ranks) -> Tensor:
        """Normalised embeddings [b, D]; b may differ between ranks and be 0. In training every rank calls this."""
        if not self.training:
            return (embeddings_bD - self.running_mean) / (self.running_variance + _EPSILON).sqrt() + _SHIFT
        normed_bD, mean_D, variance_D = _BatchNorm.apply(embeddings_bD, ranks)
        self.running_mean.lerp_(mean_D.to(self.running_mean.dtype), _MOMENTUM)
        self.running_variance.lerp_(variance_D.to(self.running_variance.dtype), _MOMENTUM)
        return normed_bD + _SHIFT


class _BatchNorm(torch.autograd.Function):
    """(embeddings_bD, ranks) -> normalised ones, and mean and variance [D] of the global batch."""

    @staticmethod
    def forward(ctx: Any, embeddings_bD: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
        count = embeddings_bD.new_full((1,), embeddings_bD.shape[0])
        sums = ranks.sum(torch.cat([embeddings_bD.sum(0), count]))
        images = sums[-1].clamp(min=1)
        mean_D = sums[:-1] / images
        centred_bD = embeddings_bD - mean_D
        variance_D = ranks.sum(centred_bD.square().sum(0)) / images
        inverse_D = (variance_D + _EPSILON).rsqrt()
        normed_bD = centred_bD * inverse_D
        ctx.ranks = ranks
        ctx.save_for_backward(normed_bD, inverse_D, images)
        ctx.mark_non_differentiable(mean_D, variance_D)
        return normed_bD, mean_D, variance_D

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Every embedding of the global batch is in mean and variance, so the ranks add up what those receive."""
        normed_bD, inverse_D, images = ctx.saved_tensors
        gradient_bD = gradients[0]
        sums_2D = ctx.ranks.sum(torch.stack([gradient_bD.sum(0), (gradient_bD * normed_bD).sum(0)]))
        shift_D, scale_D = sums_2D / images
        return inverse_D * (gradient_bD - shift_D - normed_bD * scale_D), None
