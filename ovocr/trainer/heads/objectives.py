"""The objectives: how a step's positives and sums over negatives become the loss of an image.

With t_c the margin logit of a positive c and Z the sum of exp(logit) over the negatives of image b,

    slots:      mean over k of  log(1 + Z_k exp(-t_k)),  a softmax for each drawn tag
    soft:       -sum over c of  u_c (t_c - log(Z + sum over c' of exp(t_c'))),  one softmax with several targets u
    two_sided:  log(1 + sum over c of exp(-t_c)) + log(1 + Z),  positives and negatives apart

Sources: slots, OneVision-Encoder (arXiv 2602.08683) after UNICOM (arXiv 2304.05884); soft, SuperClass (arXiv
    2411.03313); two_sided, MLCD (arXiv 2407.17331) and RICE (arXiv 2507.20025), before as ZLPR (arXiv 2208.02955).

Logits and sums come with a constant ``shift`` subtracted from every logit, see ``logit_shift``.

Shape suffixes: B images of the global batch, P positives of an image, K sums of an image (one per slot, or 1).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

ObjectiveName: TypeAlias = Literal["slots", "soft", "two_sided"]

# A negative at scale 64 makes log Z at least -64. e^70 times that scale times a gradient scaler's 65,536 is finite.
_LARGEST_EXPONENT = 70.0


class ImageLosses(NamedTuple):
    """The loss of each image, and its derivatives.

    loss_B: the losses.
    positive_slope_BP: d loss / d logit of each positive.
    sum_slope_BK: d loss / d shifted sum over negatives; a column per slot, or one if the objective has one sum.
    """

    loss_B: Tensor
    positive_slope_BP: Tensor
    sum_slope_BK: Tensor


class Objective(Protocol):
    """Computes the losses of all images."""

    def __call__(self, sums_BK: Tensor, logit_BP: Tensor, shift: float) -> ImageLosses:
        """Returns losses and derivatives from shifted sums over negatives and shifted logits of the positives."""


class Slots:
    """A softmax for each drawn tag, P = K. One sum over negatives for each slot, or one for all of them."""

    def __call__(self, sums_BK: Tensor, logit_BP: Tensor, shift: float) -> ImageLosses:
        """See ``Objective``."""
        slots = logit_BP.shape[1]
        loss_BK = _softplus(torch.log(sums_BK) - logit_BP)
        # Without negatives Z may be too small for 1 / Z. Only zeros are multiplied by it, so clamping keeps it finite.
        sum_slope_BK = torch.exp(-(logit_BP + loss_BK).clamp_min(-_LARGEST_EXPONENT)) / slots
        return ImageLosses(loss_BK.mean(1), torch.expm1(-loss_BK) / slots, sum_slope_BK)


@dataclass(frozen=True)
class Soft:
    """One softmax whose target is a distribution over the positives.

    target_BP: u_c, which add up to 1 for each image; 0 where a column has no positive.
    is_positive_BP: whether a column has a positive.
    """

    target_BP: Tensor
    is_positive_BP: Tensor

    def __call__(self, sums_BK: Tensor, logit_BP: Tensor, shift: float) -> ImageLosses:
        """See ``Objective``; K is 1."""
        logit_BP = logit_BP.masked_fill(~self.is_positive_BP, -torch.inf)
        log_sum_B1 = torch.log(sums_BK)
        # log(Z + the other positives' exponentials) - t instead of log(all) - t: a small loss keeps its digits.
        rest_BP = torch.logaddexp(log_sum_B1, _log_sum_of_others(logit_BP))
        cost_BP = _softplus(rest_BP - logit_BP).masked_fill(~self.is_positive_BP, 0.0)
        log_z_B1 = torch.logaddexp(log_sum_B1, torch.logsumexp(logit_BP, 1, keepdim=True))
        # d loss / d t = exp(t) / Z - u, and exp(t) / Z = exp(-cost)
        slope_BP = torch.expm1(-cost_BP) + (1.0 - self.target_BP)
        return ImageLosses(
            (self.target_BP * cost_BP).sum(1),
            slope_BP.masked_fill(~self.is_positive_BP, 0.0),
            torch.exp(-log_z_B1.clamp_min(-_LARGEST_EXPONENT)),
        )


@dataclass(frozen=True)
class TwoSided:
    """Two losses: every positive's logit above 0, every negative's below 0.

    is_positive_BP: whether a column has a positive.
    """

    is_positive_BP: Tensor

    def __call__(self, sums_BK: Tensor, logit_BP: Tensor, shift: float) -> ImageLosses:
        """See ``Objective``; K is 1."""
        inverse_BP = (-logit_BP - shift).masked_fill(~self.is_positive_BP, -torch.inf)
        positive_B1 = _softplus(torch.logsumexp(inverse_BP, 1, keepdim=True))
        negative_B1 = _softplus(torch.log(sums_BK) + shift)
        return ImageLosses(
            (positive_B1 + negative_B1).squeeze(1),
            -torch.exp(inverse_BP - positive_B1),
            torch.exp(shift - negative_B1),
        )


def _softplus(value: Tensor) -> Tensor:
    """Returns log(1 + exp(value)) without overflow, also for -inf."""
    return torch.logaddexp(value, torch.zeros_like(value))


def _log_sum_of_others(logit_BP: Tensor) -> Tensor:
    """Returns the log of the sum of exp(logit) over all other columns, -inf without any."""
    nothing_B1 = torch.full_like(logit_BP[:, :1], -torch.inf)
    before_BP = torch.cat([nothing_B1, torch.logcumsumexp(logit_BP, 1)[:, :-1]], dim=1)
    after_BP = torch.cat([nothing_B1, torch.logcumsumexp(logit_BP.flip(1), 1)[:, :-1]], dim=1).flip(1)
    return torch.logaddexp(before_BP, after_BP)
