"""The multi-label loss and its gradients, computed from sums over the negatives.

An implementation of ``Softmax`` handles the negatives: sums of exponentials, and their gradients. The positives of each
image are few and computed here, in float64: the scale multiplies the rounding of a cosine, and each positive has much
more weight than a negative. An ``Objective`` makes the loss from both.

Shape suffixes: b local images, B images of the global batch, D embedding size, C this rank's centers, S sampled
centers, K sums of an image (one per slot, or 1), P positives of an image, X skipped classes of an image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.negative_sums import SMALLEST_LENGTH, NegativeSums
from ovocr.trainer.heads.objectives import Objective, Slots
from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.ranks.distributed import Ranks

# Maximum number of elements of the positives' centers that are gathered at a time; 64 MiB in float32.
_POSITIVE_ELEMENTS = 1 << 24


class Softmax(Protocol):
    """Interface of an implementation; see ``TorchSoftmax``."""

    shift: float

    def sums(self, skipped_BX: Tensor) -> NegativeSums:
        """Returns sums of exponentials over the negatives."""

    def gradients(self, slope_BK: Tensor, grad_SD: Tensor) -> Tensor:
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
    objective: the objective of this step.
    positives_BP: local rows of the positives; -1 for a class of another rank and for none.
    is_positive_BP: whether a column has a positive, on any rank.
    skipped_BX: local rows of the classes that are not negatives of their image: tags and ignored classes; -1 is none.
    pair_weights_BPP: weight of tag j of an image as a negative of its slot k, [B, P (tag j), P (slot k)]; needed if
        drawn tags may be negatives of other slots, None if all stored tags are skipped or there are no slots.
    """

    ranks: Ranks
    sizes: list[int]
    sample: SampledCenters
    margin: Margin
    softmax: SoftmaxFactory
    row_buffer: Callable[[int, torch.dtype], Tensor]
    objective: Objective
    positives_BP: Tensor
    is_positive_BP: Tensor
    skipped_BX: Tensor
    pair_weights_BPP: Tensor | None

    @property
    def local_images(self) -> slice:
        """This rank's images within the global batch."""
        first = sum(self.sizes[: self.ranks.rank])
        return slice(first, first + self.sizes[self.ranks.rank])


@dataclass(frozen=True)
class LossReport:
    """Measurements of a forward call, as tensors that stay on the device: only reading a value waits for it.

    positive_cosine: mean cosine of the positives of each slot, [K]; of all positives, [1], for an objective without
        slots.
    negative_cosine: mean cosine of all negatives, a scalar.
    sample_loss: loss of each image of the global batch, [B].
    sample_size: number of this rank's sampled centers, over all slots.
    """

    positive_cosine: Tensor
    negative_cosine: Tensor
    sample_loss: Tensor
    sample_size: int


class MultiLabelLoss(torch.autograd.Function):
    """Maps (unit embeddings_bD, weight_CD, inputs) to the loss, a scalar, and a ``LossReport``.

    The gradient of the weight is sparse COO over the sampled rows, in ascending order, or dense if all rows are
    sampled. The forward pass keeps derivatives by sums and by the positives' cosines; the backward pass reads the
    centers again.
    """

    @staticmethod
    def forward(ctx: Any, embeddings_bD: Tensor, weight: Tensor, inputs: LossInputs) -> tuple[Tensor, LossReport]:
        """Sums over the negatives of all ranks, then computes the loss."""
        margin, weight_CD = inputs.margin, weight.detach()
        embeddings_BD = inputs.ranks.gather_rows(embeddings_bD.detach(), inputs.sizes)
        softmax = inputs.softmax(embeddings_BD, weight_CD, inputs.sample, margin)
        negatives = softmax.sums(inputs.skipped_BX)
        cos_BP = _cosines(embeddings_BD.to(precise_dtype(embeddings_BD.device)), weight_CD, inputs.positives_BP)
        sums_BK, cos_BP, cosine, pairs = _sum_over_ranks(negatives, cos_BP, inputs.ranks)
        exp_BPP = None
        if inputs.pair_weights_BPP is not None:
            exp_BPP = _exponentials(cos_BP, margin, softmax.shift).unsqueeze(2) * inputs.pair_weights_BPP
            sums_BK = sums_BK + exp_BPP.sum(1)

        logit_BP, slope_BP = margin.target(cos_BP)
        losses = inputs.objective(sums_BK, logit_BP - softmax.shift, softmax.shift)
        cos_slope_BP = losses.positive_slope_BP * slope_BP
        if exp_BPP is not None:
            cos_slope_BP = cos_slope_BP + _slope_of_drawn_negatives(exp_BPP, losses.sum_slope_BK, cos_BP, margin)
        sum_slope_BK = margin.scale * losses.sum_slope_BK
        if negatives.exp_BK.shape[1] == 1:
            sum_slope_BK = sum_slope_BK.sum(1, keepdim=True)
        ctx.inputs, ctx.softmax = inputs, softmax
        # save_for_backward detects a weight that changed in between and frees everything after the backward pass.
        dtype = embeddings_BD.dtype
        saved = [value.to(dtype) for value in (cos_BP, cos_slope_BP, sum_slope_BK)]
        ctx.save_for_backward(weight, embeddings_BD, *saved)
        loss = losses.loss_B.sum() / max(1, losses.loss_B.numel())  # an empty global batch has the loss 0
        numbers = (_mean_cosines(cos_BP, inputs), cosine / pairs.clamp_min(1.0), losses.loss_B, loss)
        positive_cosine, negative_cosine, loss_B, loss = (value.to(dtype) for value in numbers)
        return loss, LossReport(positive_cosine, negative_cosine, loss_B, inputs.sample.size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _report: None) -> tuple[Tensor | None, ...]:
        """Computes the gradients in a second pass over the centers."""
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError("PartialFC's loss has no second derivative: backward with create_graph=False")
        inputs: LossInputs = ctx.inputs
        weight_CD, embeddings_BD, cos_BP, cos_slope_BP, sum_slope_BK = ctx.saved_tensors
        per_image = grad / max(1, cos_BP.shape[0])
        grad_SD = inputs.row_buffer(inputs.sample.size, embeddings_BD.dtype)
        grad_BD = ctx.softmax.gradients(sum_slope_BK * per_image, grad_SD)
        _add_positives(grad_BD, grad_SD, cos_slope_BP * per_image, cos_BP, embeddings_BD, weight_CD, inputs)
        grad_bD = inputs.ranks.sum(grad_BD)[inputs.local_images]
        return grad_bD, _weight_gradient(grad_SD.to(weight_CD.dtype), inputs.sample, weight_CD), None


def precise_dtype(device: torch.device) -> torch.dtype:
    """Returns float64, or float32 for a device that has no float64 (Apple's GPUs)."""
    return torch.float32 if device.type == "mps" else torch.float64


def _slope_of_drawn_negatives(exp_BPP: Tensor, sum_slope_BK: Tensor, cos_BP: Tensor, margin: Margin) -> Tensor:
    """Returns d loss / d cosine of drawn tags in their role as negatives of other slots, [B, P]."""
    slope_BP = margin.scale * (exp_BPP * sum_slope_BK.unsqueeze(1)).sum(2)
    return slope_BP if margin.filter_threshold is None else slope_BP.masked_fill(cos_BP > margin.filter_threshold, 0.0)


def _mean_cosines(cos_BP: Tensor, inputs: LossInputs) -> Tensor:
    """Returns the mean cosine of the positives, by slot [K] or of all [1]."""
    if isinstance(inputs.objective, Slots):
        return cos_BP.sum(0) / max(1, cos_BP.shape[0])
    positives = inputs.is_positive_BP.sum().clamp_min(1)
    return (cos_BP.sum() / positives).unsqueeze(0)


def _sum_over_ranks(negatives: NegativeSums, cos_BP: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums exponentials, positives' cosines, and sum and number of negatives' cosines over ranks in one all-reduce."""
    parts = [negatives.exp_BK, cos_BP, negatives.cosine, negatives.pairs]
    packed = ranks.sum(torch.cat([part.flatten() for part in parts]))
    exp, cos, cosine, pairs = packed.split([part.numel() for part in parts])
    return exp.view_as(negatives.exp_BK), cos.view_as(cos_BP), cosine[0], pairs[0]


def _cosines(embeddings_BD: Tensor, weight_CD: Tensor, rows_BP: Tensor) -> Tensor:
    """Returns cosines of images with local rows, 0 for row -1; summing over ranks completes them."""
    parts = []
    for columns in _column_groups(rows_BP, weight_CD):
        unit_BpD, _ = _unit_rows(weight_CD, rows_BP[:, columns], embeddings_BD.dtype)
        parts.append(torch.bmm(unit_BpD, embeddings_BD.unsqueeze(2)).squeeze(2))
    return torch.cat(parts, dim=1)


def _column_groups(rows_BP: Tensor, weight_CD: Tensor) -> Iterator[slice]:
    """Yields groups of columns whose centers fit ``_POSITIVE_ELEMENTS``, at least one column each."""
    batch, columns = rows_BP.shape
    group = max(1, _POSITIVE_ELEMENTS // max(1, batch * weight_CD.shape[1]))
    for first in range(0, columns, group):
        yield slice(first, first + group)


def _unit_rows(weight_CD: Tensor, rows_BP: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns local rows divided by their length [B, P, D] and 1 / length [B, P]; zeros for row -1."""
    if weight_CD.shape[0] == 0:  # more ranks than classes
        zeros_BP = torch.zeros(rows_BP.shape, dtype=dtype, device=weight_CD.device)
        return zeros_BP.unsqueeze(2).repeat(1, 1, weight_CD.shape[1]), zeros_BP
    centers_BPD = weight_CD[rows_BP.clamp_min(0)].to(dtype)
    length_BP = torch.linalg.vector_norm(centers_BPD, dim=2).clamp_(min=SMALLEST_LENGTH)
    inverse_BP = torch.where(rows_BP >= 0, 1.0 / length_BP, 0.0)
    return centers_BPD.mul_(inverse_BP.unsqueeze(2)), inverse_BP


def _exponentials(cos_BP: Tensor, margin: Margin, shift: float) -> Tensor:
    """Returns exp(logit - shift) of drawn tags that act as negatives."""
    if margin.filter_threshold is not None:
        cos_BP = cos_BP.masked_fill(cos_BP > margin.filter_threshold, 0.0)
    return torch.exp(margin.scale * cos_BP - shift)


def _add_positives(
    grad_BD: Tensor,
    grad_SD: Tensor,
    slope_BP: Tensor,
    cos_BP: Tensor,
    embeddings_BD: Tensor,
    weight_CD: Tensor,
    inputs: LossInputs,
) -> None:
    """Adds the positives' part to both gradients, on the rank of each center; slope_BP is d loss / d cosine."""
    for columns in _column_groups(inputs.positives_BP, weight_CD):
        rows_Bp, slope_Bp = inputs.positives_BP[:, columns].contiguous(), slope_BP[:, columns]
        unit_BpD, inverse_Bp = _unit_rows(weight_CD, rows_Bp, embeddings_BD.dtype)
        grad_BD += torch.bmm(slope_Bp.unsqueeze(1), unit_BpD).squeeze(1)
        if grad_SD.shape[0] == 0:
            continue
        # d cos / d row = (embedding - cos * unit row) / length
        along_BpD = unit_BpD.mul_(-cos_BP[:, columns].unsqueeze(2)).add_(embeddings_BD.unsqueeze(1))
        centers_BpD = along_BpD.mul_((slope_Bp * inverse_Bp).unsqueeze(2))
        positions_Bp = inputs.sample.positions(rows_Bp).clamp_min(0)  # rows of other ranks add zero to row 0
        grad_SD.index_add_(0, positions_Bp.flatten(), centers_BpD.flatten(0, 1))


def _weight_gradient(grad_SD: Tensor, sample: SampledCenters, weight_CD: Tensor) -> Tensor:
    """Returns the gradient dense if every row was sampled, else as sparse COO over the sampled rows."""
    if sample.rows is None:
        return grad_SD
    rows = sample.rows.unsqueeze(0)
    return torch.sparse_coo_tensor(rows, grad_SD, weight_CD.shape, is_coalesced=True, check_invariants=False)
