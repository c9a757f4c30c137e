"""What every implementation of the softmax over sampled centers agrees on.

The negatives of an image b share one exponential each, exp(s * cos_bc), among all K slots; a slot's sum takes those
that are in its sample. Logits are bounded by the scale s, so a fixed shift max(0, s - 64) stands in for a running
maximum: exp(64) times two million classes fits float32, and for s up to 75 no term is flushed to zero. At 100, the most
that ``Margin`` takes, terms of a cosine below -0.51 are.

Shape suffixes: B images of the global batch, K slots (1 where all slots share one sample).
"""

from dataclasses import dataclass

from torch import Tensor

from ovocr.trainer.heads.margin import Margin

LARGEST_LOGIT = 64.0
SMALLEST_LENGTH = 1e-12  # of a row that is divided by its length: a row of zeros stays zero


@dataclass(frozen=True)
class NegativeSums:
    """What a pass over this rank's negatives adds up.

    exp_BK: sum of exp(logit - shift) over each slot's negatives, [B, K] or [B, 1] where all slots share them.
    cosine: sum of the cosines of all pairs of an image and a negative of any of its slots, a scalar.
    pairs: their number, a scalar.
    """

    exp_BK: Tensor
    cosine: Tensor
    pairs: Tensor


def logit_shift(margin: Margin) -> float:
    """What is taken from every logit before it is exponentiated."""
    return max(0.0, margin.scale - LARGEST_LOGIT)
