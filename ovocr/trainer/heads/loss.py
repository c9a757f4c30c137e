"""The multi-label loss and its gradients, from sums over the negatives that any implementation may make.

    loss = mean over k, b of  -log( exp(t_bk) / (sum of exp(s cos_bc) over the negatives c in S_k + exp(t_bk)) )

with t_bk the margin logit of the positive. The positives, K an image, are worked out here, in the embeddings' own
precision; an implementation only ever sees negatives.

Shape suffixes: b local images, B images of the global batch, D embedding size, C this rank's centers, S sampled ones,
T stored tags, K drawn slots.
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

# A negative at scale 64 makes log Z at least -64; and e^70 times that scale times a gradient scaler's 65,536 is finite.
_LARGEST_EXPONENT = 70.0


class Softmax(Protocol):
    """What an implementation gives: see ``TorchSoftmax``."""

    shift: float

    def sums(self, skipped_BT: Tensor) -> NegativeSums:
        """Sums of exponentials over the negatives."""

    def gradients(self, weight_BK: Tensor, grad_SD: Tensor) -> Tensor:
        """The negatives' part of the gradients by centers, into grad_SD, and by embeddings."""


class SoftmaxFactory(Protocol):
    """Makes an implementation for one step."""

    def __call__(self, embeddings_BD: Tensor, weight_CD: Tensor, sample: SampledCenters, margin: Margin) -> Softmax:
        """embeddings_BD: unit rows. weight_CD: this rank's centers."""


@dataclass(frozen=True)
class Step:
    """What one step works on besides embeddings and centers.

    sizes: images of each rank. row_buffer: memory for a gradient of this many rows [rows, D] of this type.
    drawn_BK: local rows of the drawn tags; -1: another rank's.
    skipped_BT: local rows of the tags that are no negatives of their image.
    others_BKK: where the drawn tags are the only skipped ones, whether tag j of an image is, all the same, a negative
    of its slot k, bool [B, K (tag j), K (slot k)]; None where all stored tags are skipped.
    """

    ranks: Ranks
    sizes: list[int]
    sample: SampledCenters
    margin: Margin
    softmax: SoftmaxFactory
    row_buffer: Callable[[int, torch.dtype], Tensor]
    drawn_BK: Tensor
    skipped_BT: Tensor
    others_BKK: Tensor | None

    @property
    def local_images(self) -> slice:
        """This rank's images in the global batch."""
        first = sum(self.sizes[: self.ranks.rank])
        return slice(first, first + self.sizes[self.ranks.rank])


@dataclass(frozen=True)
class StepReport:
    """What a step saw, as tensors still on the device: reading them there costs no wait until ``.item()``.

    positive_cosine: mean cosine of the positives by slot [K].
    negative_cosine: mean cosine of all negatives, a scalar.
    sample_loss: loss of each image of the global batch, mean over its slots [B].
    sample_size: sampled centers of this rank, all slots together.
    """

    positive_cosine: Tensor
    negative_cosine: Tensor
    sample_loss: Tensor
    sample_size: int


class MultiLabelLoss(torch.autograd.Function):
    """(embeddings_bD, unit rows; weight_CD; step) -> the loss, a scalar, and a ``StepReport``.

    The gradient by the weight is sparse COO over the sample's rows, ascending; dense where all rows are in it.
    Forward keeps sums and the cosines of the drawn tags; backward goes over the centers again.
    """

    @staticmethod
    def forward(ctx: Any, embeddings_bD: Tensor, weight: Tensor, step: Step) -> tuple[Tensor, StepReport]:
        """Sums over the negatives of all ranks, then the loss."""
        margin, weight_CD = step.margin, weight.detach()
        embeddings_BD = step.ranks.gather_rows(embeddings_bD.detach(), step.sizes)
        softmax = step.softmax(embeddings_BD, weight_CD, step.sample, margin)
        negatives = softmax.sums(step.skipped_BT)
        cos_BK = _cosines(embeddings_BD, weight_CD, step.drawn_BK)
        sums_BK, cos_BK, cosine, pairs = _summed_over_ranks(negatives, cos_BK, step.ranks)
        others_BKK = None
        if step.others_BKK is not None:
            others_BKK = _exponentials(cos_BK, margin, softmax.shift).unsqueeze(2) * step.others_BKK
            sums_BK = sums_BK + others_BKK.sum(1)

        logit_BK, slope_BK = margin.target(cos_BK)
        target_BK = logit_BK - softmax.shift
        # log(1 + sum / exp(target)), not log(sum + exp(target)) - target: a small loss keeps its digits.
        loss_BK = torch.logaddexp(torch.log(sums_BK) - target_BK, torch.zeros_like(target_BK))
        log_z_BK = target_BK + loss_BK
        ctx.step, ctx.softmax = step, softmax
        # Saved so that a weight that was changed in between is noticed, and all is freed when backward is done.
        ctx.save_for_backward(weight, embeddings_BD, cos_BK, slope_BK, log_z_BK, loss_BK, others_BKK)
        images = max(1, cos_BK.shape[0])  # an empty global batch has the loss 0
        report = StepReport(cos_BK.sum(0) / images, cosine / pairs.clamp_min(1.0), loss_BK.mean(1), step.sample.size)
        return loss_BK.sum() / max(1, loss_BK.numel()), report

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _report: None) -> tuple[Tensor | None, ...]:
        """A second pass over the centers, with what each negative and each positive weighs."""
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError("PartialFC's loss has no second derivative: backward with create_graph=False")
        step: Step = ctx.step
        weight_CD, embeddings_BD, cos_BK, slope_BK, log_z_BK, loss_BK, others_BKK = ctx.saved_tensors
        per_pair = grad / max(1, cos_BK.numel())
        # d loss_bk / d (a negative's cos) = s exp(logit) / Z_bk;  d loss_bk / d (the positive's) = -(1 - p_bk) slope.
        # A slot without negatives may have a Z too small for 1 / Z: only zeros are multiplied by it, so keep it finite.
        weight_BK = step.margin.scale * per_pair * torch.exp(-log_z_BK.clamp_min(-_LARGEST_EXPONENT))
        drawn_weight_BK = torch.expm1(-loss_BK) * slope_BK * per_pair
        if others_BKK is not None:
            others_BK = (others_BKK * weight_BK.unsqueeze(1)).sum(2)
            threshold = step.margin.filter_threshold
            if threshold is not None:
                others_BK.masked_fill_(cos_BK > threshold, 0.0)
            drawn_weight_BK = drawn_weight_BK + others_BK
        if step.sample.members is None:
            weight_BK = weight_BK.sum(1, keepdim=True)
        grad_SD = step.row_buffer(step.sample.size, embeddings_BD.dtype)
        grad_BD = ctx.softmax.gradients(weight_BK, grad_SD)
        _add_drawn(grad_BD, grad_SD, drawn_weight_BK, cos_BK, embeddings_BD, weight_CD, step)
        grad_bD = step.ranks.sum(grad_BD)[step.local_images]
        return grad_bD, _over_rows(grad_SD.to(weight_CD.dtype), step.sample, weight_CD), None


def _summed_over_ranks(negatives: NegativeSums, cos_BK: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums of exponentials, cosines of the drawn tags, sum and number of the negatives' cosines, in one message."""
    parts = [negatives.exp_BK, cos_BK, negatives.cosine, negatives.pairs]
    packed = ranks.sum(torch.cat([part.flatten() for part in parts]))
    exp, cos, cosine, pairs = packed.split([part.numel() for part in parts])
    return exp.view_as(negatives.exp_BK), cos.view_as(cos_BK), cosine[0], pairs[0]


def _cosines(embeddings_BD: Tensor, weight_CD: Tensor, rows_BK: Tensor) -> Tensor:
    """Cosines of images with these local rows, zero for the row -1: summed over ranks, each has its center's."""
    unit_BKD, _ = _unit_rows(weight_CD, rows_BK, embeddings_BD.dtype)
    return torch.bmm(unit_BKD, embeddings_BD.unsqueeze(2)).squeeze(2)


def _unit_rows(weight_CD: Tensor, rows_BK: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """These local rows divided by their length [B, K, D], and 1 / length [B, K]; zeros for the row -1."""
    if weight_CD.shape[0] == 0:  # more ranks than classes
        zeros_BK = torch.zeros(rows_BK.shape, dtype=dtype, device=weight_CD.device)
        return zeros_BK.unsqueeze(2).repeat(1, 1, weight_CD.shape[1]), zeros_BK
    centers_BKD = weight_CD[rows_BK.clamp_min(0)].to(dtype)
    length_BK = torch.linalg.vector_norm(centers_BKD, dim=2).clamp_(min=SMALLEST_LENGTH)
    inverse_BK = torch.where(rows_BK >= 0, 1.0 / length_BK, 0.0)
    return centers_BKD.mul_(inverse_BK.unsqueeze(2)), inverse_BK


def _exponentials(cos_BK: Tensor, margin: Margin, shift: float) -> Tensor:
    """exp(logit - shift) of drawn tags as negatives."""
    if margin.filter_threshold is not None:
        cos_BK = cos_BK.masked_fill(cos_BK > margin.filter_threshold, 0.0)
    return torch.exp(margin.scale * cos_BK - shift)


def _add_drawn(
    grad_BD: Tensor,
    grad_SD: Tensor,
    weight_BK: Tensor,
    cos_BK: Tensor,
    embeddings_BD: Tensor,
    weight_CD: Tensor,
    step: Step,
) -> None:
    """Add the drawn tags' part, whose d loss / d cosine is weight_BK, to both gradients, on the rank of each center."""
    unit_BKD, inverse_BK = _unit_rows(weight_CD, step.drawn_BK, embeddings_BD.dtype)
    grad_BD += torch.bmm(weight_BK.unsqueeze(1), unit_BKD).squeeze(1)
    if grad_SD.shape[0] == 0:
        return
    # d cos / d row = (embedding - cos * unit row) / length
    along_BKD = unit_BKD.mul_(-cos_BK.unsqueeze(2)).add_(embeddings_BD.unsqueeze(1))
    rows_BKD = along_BKD.mul_((weight_BK * inverse_BK).unsqueeze(2))
    positions_BK = step.sample.positions(step.drawn_BK).clamp_min(0)  # another rank's: adds zero to any row
    grad_SD.index_add_(0, positions_BK.flatten(), rows_BKD.flatten(0, 1))


def _over_rows(grad_SD: Tensor, sample: SampledCenters, weight_CD: Tensor) -> Tensor:
    """Dense where every row was in the sample, else sparse COO over the sampled rows."""
    if sample.rows is None:
        return grad_SD
    rows = sample.rows.unsqueeze(0)
    return torch.sparse_coo_tensor(rows, grad_SD, weight_CD.shape, is_coalesced=True, check_invariants=False)
