"""Batch normalisation of embeddings over all ranks, with a constant shift and no learned scale.

The cosine to a class center hardly depends on how far embeddings are from their common mean. If all embeddings start
close together, as with an untrained backbone, they can collapse to one point before they separate any images.
Normalising each channel keeps them spread, at least along one direction. With mean zero, however, no center can be
close to all embeddings, as the center of a frequent class should be; therefore a constant shift is added. ArcFace
(arXiv 1801.07698, section 3.1) and UNICOM (arXiv 2304.05884) end their backbones with such a layer and learn the shift.
Here its direction is arbitrary, because the centers turn towards it. torch's SyncBatchNorm only supports CUDA.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ovocr.trainer.ranks.distributed import Ranks

_EPSILON = 1e-5
_MOMENTUM = 0.3  # weight of a batch in the running statistics; large, to follow embeddings that change within few steps
# Added to every channel. A small encoder learned about a quarter of a deviation.
_SHIFT = 0.25


class EmbeddingNorm(nn.Module):
    """Computes (x - mean) / sqrt(variance + 1e-5) + 0.25 per channel.

    Uses the statistics of the global batch in training mode, else the running statistics. These are exponential
    averages over the batches, so they lag some steps behind the weights; a training loop may replace them with exact
    ones, see ``set_statistics``.

    running_mean, running_variance: float32 [D], the same on every rank.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(embedding_dim))
        self.register_buffer("running_variance", torch.ones(embedding_dim))

    def forward(self, embeddings_bD: Tensor, ranks: Ranks) -> Tensor:
        """Returns normalised embeddings [b, D].

        b may differ between ranks and may be 0. In training mode every rank calls this.
        """
        if not self.training:
            return (embeddings_bD - self.running_mean) / (self.running_variance + _EPSILON).sqrt() + _SHIFT
        normed_bD, mean_D, variance_D = _BatchNorm.apply(embeddings_bD, ranks)
        self.running_mean.lerp_(mean_D.to(self.running_mean.dtype), _MOMENTUM)
        self.running_variance.lerp_(variance_D.to(self.running_variance.dtype), _MOMENTUM)
        return normed_bD + _SHIFT

    @torch.no_grad()
    def set_statistics(self, mean_D: Tensor, variance_D: Tensor) -> None:
        """Replaces the running statistics; every rank passes the same numbers.

        Has no effect on forward passes in training mode.

        mean_D, variance_D: [D], any floating dtype and device; the variance is the biased one.
        """
        self.running_mean.copy_(mean_D)
        self.running_variance.copy_(variance_D)


class _BatchNorm(torch.autograd.Function):
    """Maps (embeddings_bD, ranks) to normalised embeddings, and mean and variance [D] of the global batch."""

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
        """Sums over ranks, because every embedding of the global batch contributes to mean and variance."""
        normed_bD, inverse_D, images = ctx.saved_tensors
        gradient_bD = gradients[0]
        sums_2D = ctx.ranks.sum(torch.stack([gradient_bD.sum(0), (gradient_bD * normed_bD).sum(0)]))
        shift_D, scale_D = sums_2D / images
        return inverse_D * (gradient_bD - shift_D - normed_bD * scale_D), None
