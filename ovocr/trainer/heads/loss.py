"""The multi-label loss and its gradients, computed from sums over the negatives.

    loss = mean over k, b of  -log( exp(t_bk) / (sum of exp(s cos_bc) over the negatives c in S_k + exp(t_bk)) )

t_bk is the margin logit of the positive. The K positives of each image are computed here, in the precision of the
embeddings; an implementation of ``Softmax`` handles negatives only.

Shape suffixes: b local images, B images of the global batch, D embedding size, C this rank's centers, S sampled
centers, K drawn slots, X skipped classes of an image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.negative_sums import SMALLEST_LENGTH, NegativeSums
from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.ranks.distributed import Ranks

# A negative at scale 64 makes log Z at least -64. e^70 times that scale times a gradient scaler's 65,536 is finite.
_LARGEST_EXPONENT = 70.0


class Softmax(Protocol):
    """Interface of an implementation; see ``TorchSoftmax``."""

    shift: float

    def sums(self, skipped_BX: Tensor) -> NegativeSums:
        """Returns sums of exponentials over the negatives."""

    def gradients(self, weight_BK: Tensor, grad_SD: Tensor) -> Tensor:
        """Writes the negatives' part of the centers' gradients to grad_SD; returns their part of the embeddings'
        gradients."""


class SoftmaxFactory(Protocol):
    """Creates an implementation for one step."""

    def __call__(self, embeddings_BD: Tensor, weight_CD: Tensor, sample: SampledCenters, margin: Margin) -> Softmax:
        """Returns the implementation. embeddings_BD: unit rows. weight_CD: this rank's centers."""


@dataclass(frozen=True)
class LossInputs:
    """Inputs of the loss besides embeddings and centers.

    sizes: number of images of each rank.
    row_buffer: function that returns memory for a gradient [rows, D] of the given dtype.
    drawn_BK: local rows of the drawn tags; -1 for a class of another rank.
    skipped_BX: local rows of the classes that are not negatives of their image: tags and ignored classes; -1 is none.
    drawn_negatives_BKK: whether tag j of an image is a negative of its slot k, bool [B, K (tag j), K (slot k)]; needed
        if drawn tags may be negatives of other slots, None if all stored tags are skipped.
    """

    ranks: Ranks
    sizes: list[int]
    sample: SampledCenters
    margin: Margin
    softmax: SoftmaxFactory
    row_buffer: Callable[[int, torch.dtype], Tensor]
    drawn_BK: Tensor
    skipped_BX: Tensor
    drawn_negatives_BKK: Tensor | None

    @property
    def local_images(self) -> slice:
        """This rank's images within the global batch."""
        first = sum(self.sizes[: self.ranks.rank])
        return slice(first, first + self.sizes[self.ranks.rank])


@dataclass(frozen=True)
class LossReport:
    """Measurements of a forward call, as tensors that stay on the device: only reading a value waits for it.

    positive_cosine: mean cosine of the positives of each slot, [K].
    negative_cosine: mean cosine of all negatives, a scalar.
    sample_loss: loss of each image of the global batch, mean over its slots, [B].
    sample_size: number of this rank's sampled centers, over all slots.
    """

    positive_cosine: Tensor
    negative_cosine: Tensor
    sample_loss: Tensor
    sample_size: int


class MultiLabelLoss(torch.autograd.Function):
    """Maps (unit embeddings_bD, weight_CD, inputs) to the loss, a scalar, and a ``LossReport``.

    The gradient of the weight is sparse COO over the sampled rows, in ascending order, or dense if all rows are
    sampled. The forward pass keeps sums and the cosines of the drawn tags; the backward pass reads the centers again.
    """

    @staticmethod
    def forward(ctx: Any, embeddings_bD: Tensor, weight: Tensor, inputs: LossInputs) -> tuple[Tensor, LossReport]:
        """Sums over the negatives of all ranks, then computes the loss."""
        margin, weight_CD = inputs.margin, weight.detach()
        embeddings_BD = inputs.ranks.gather_rows(embeddings_bD.detach(), inputs.sizes)
        softmax = inputs.softmax(embeddings_BD, weight_CD, inputs.sample, margin)
        negatives = softmax.sums(inputs.skipped_BX)
        cos_BK = _cosines(embeddings_BD, weight_CD, inputs.drawn_BK)
        sums_BK, cos_BK, cosine, pairs = _sum_over_ranks(negatives, cos_BK, inputs.ranks)
        drawn_negatives_BKK = None
        if inputs.drawn_negatives_BKK is not None:
            drawn_negatives_BKK = _exponentials(cos_BK, margin, softmax.shift).unsqueeze(2) * inputs.drawn_negatives_BKK
            sums_BK = sums_BK + drawn_negatives_BKK.sum(1)

        logit_BK, slope_BK = margin.target(cos_BK)
        target_BK = logit_BK - softmax.shift
        # log(1 + sum / exp(target)) instead of log(sum + exp(target)) - target: a small loss keeps its digits.
        loss_BK = torch.logaddexp(torch.log(sums_BK) - target_BK, torch.zeros_like(target_BK))
        log_z_BK = target_BK + loss_BK
        ctx.inputs, ctx.softmax = inputs, softmax
        # save_for_backward detects a weight that changed in between and frees everything after the backward pass.
        ctx.save_for_backward(weight, embeddings_BD, cos_BK, slope_BK, log_z_BK, loss_BK, drawn_negatives_BKK)
        images = max(1, cos_BK.shape[0])  # an empty global batch has the loss 0
        report = LossReport(cos_BK.sum(0) / images, cosine / pairs.clamp_min(1.0), loss_BK.mean(1), inputs.sample.size)
        return loss_BK.sum() / max(1, loss_BK.numel()), report

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _report: None) -> tuple[Tensor | None, ...]:
        """Computes the gradients in a second pass over the centers."""
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError("PartialFC's loss has no second derivative: backward with create_graph=False")
        inputs: LossInputs = ctx.inputs
        weight_CD, embeddings_BD, cos_BK, slope_BK, log_z_BK, loss_BK, drawn_negatives_BKK = ctx.saved_tensors
        per_pair = grad / max(1, cos_BK.numel())
        # d loss_bk / d cos of a negative = s exp(logit) / Z_bk;  d loss_bk / d cos of the positive = -(1 - p_bk) slope.
        # Without negatives Z may be too small for 1 / Z. Only zeros are multiplied by it, so clamping keeps it finite.
        weight_BK = inputs.margin.scale * per_pair * torch.exp(-log_z_BK.clamp_min(-_LARGEST_EXPONENT))
        drawn_weight_BK = torch.expm1(-loss_BK) * slope_BK * per_pair
        if drawn_negatives_BKK is not None:
            drawn_negatives_BK = (drawn_negatives_BKK * weight_BK.unsqueeze(1)).sum(2)
            threshold = inputs.margin.filter_threshold
            if threshold is not None:
                drawn_negatives_BK.masked_fill_(cos_BK > threshold, 0.0)
            drawn_weight_BK = drawn_weight_BK + drawn_negatives_BK
        if inputs.sample.members is None:
            weight_BK = weight_BK.sum(1, keepdim=True)
        grad_SD = inputs.row_buffer(inputs.sample.size, embeddings_BD.dtype)
        grad_BD = ctx.softmax.gradients(weight_BK, grad_SD)
        _add_drawn_tags(grad_BD, grad_SD, drawn_weight_BK, cos_BK, embeddings_BD, weight_CD, inputs)
        grad_bD = inputs.ranks.sum(grad_BD)[inputs.local_images]
        return grad_bD, _weight_gradient(grad_SD.to(weight_CD.dtype), inputs.sample, weight_CD), None


def _sum_over_ranks(negatives: NegativeSums, cos_BK: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums exponentials, drawn tags' cosines, and sum and number of negatives' cosines over ranks in one all-reduce."""
    parts = [negatives.exp_BK, cos_BK, negatives.cosine, negatives.pairs]
    packed = ranks.sum(torch.cat([part.flatten() for part in parts]))
    exp, cos, cosine, pairs = packed.split([part.numel() for part in parts])
    return exp.view_as(negatives.exp_BK), cos.view_as(cos_BK), cosine[0], pairs[0]


def _cosines(embeddings_BD: Tensor, weight_CD: Tensor, rows_BK: Tensor) -> Tensor:
    """Returns cosines of images with local rows, 0 for row -1; summing over ranks completes them."""
    unit_BKD, _ = _unit_rows(weight_CD, rows_BK, embeddings_BD.dtype)
    return torch.bmm(unit_BKD, embeddings_BD.unsqueeze(2)).squeeze(2)


def _unit_rows(weight_CD: Tensor, rows_BK: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns local rows divided by their length [B, K, D] and 1 / length [B, K]; zeros for row -1."""
    if weight_CD.shape[0] == 0:  # more ranks than classes
        zeros_BK = torch.zeros(rows_BK.shape, dtype=dtype, device=weight_CD.device)
        return zeros_BK.unsqueeze(2).repeat(1, 1, weight_CD.shape[1]), zeros_BK
    centers_BKD = weight_CD[rows_BK.clamp_min(0)].to(dtype)
    length_BK = torch.linalg.vector_norm(centers_BKD, dim=2).clamp_(min=SMALLEST_LENGTH)
    inverse_BK = torch.where(rows_BK >= 0, 1.0 / length_BK, 0.0)
    return centers_BKD.mul_(inverse_BK.unsqueeze(2)), inverse_BK


def _exponentials(cos_BK: Tensor, margin: Margin, shift: float) -> Tensor:
    """Returns exp(logit - shift) of drawn tags that act as negatives."""
    if margin.filter_threshold is not None:
        cos_BK = cos_BK.masked_fill(cos_BK > margin.filter_threshold, 0.0)
    return torch.exp(margin.scale * cos_BK - shift)


def _add_drawn_tags(
    grad_BD: Tensor,
    grad_SD: Tensor,
    weight_BK: Tensor,
    cos_BK: Tensor,
    embeddings_BD: Tensor,
    weight_CD: Tensor,
    inputs: LossInputs,
) -> None:
    """Adds the drawn tags' part to both gradients, on the rank of each center; weight_BK is d loss / d cosine."""
    unit_BKD, inverse_BK = _unit_rows(weight_CD, inputs.drawn_BK, embeddings_BD.dtype)
    grad_BD += torch.bmm(weight_BK.unsqueeze(1), unit_BKD).squeeze(1)
    if grad_SD.shape[0] == 0:
        return
    # d cos / d row = (embedding - cos * unit row) / length
    along_BKD = unit_BKD.mul_(-cos_BK.unsqueeze(2)).add_(embeddings_BD.unsqueeze(1))
    rows_BKD = along_BKD.mul_((weight_BK * inverse_BK).unsqueeze(2))
    positions_BK = inputs.sample.positions(inputs.drawn_BK).clamp_min(0)  # rows of other ranks add zero to row 0
    grad_SD.index_add_(0, positions_BK.flatten(), rows_BKD.flatten(0, 1))


def _weight_gradient(grad_SD: Tensor, sample: SampledCenters, weight_CD: Tensor) -> Tensor:
    """Returns the gradient dense if every row was sampled, else as sparse COO over the sampled rows."""
    if sample.rows is None:
        return grad_SD
    rows = sample.rows.unsqueeze(0)
    return torch.sparse_coo_tensor(rows, grad_SD, weight_CD.shape, is_coalesced=True, check_invariants=False)
