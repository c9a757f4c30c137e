"""Definitions shared by all implementations of the softmax over sampled centers.

Each negative c of an image b has one exponential, exp(s * cos_bc), used by all K sums of the image; a sum includes the
negatives in its sample, each with its weight. Logits are bounded by the scale s, so a fixed shift max(0, s - 64)
replaces a running maximum: exp(64) times two million, the sum of the weights of as many classes, fits float32, and for
s up to 75 no term is flushed to zero. For s = 100, the maximum of ``Margin``, terms with a cosine below -0.51 are
flushed.

Shape suffixes: B images of the global batch, K sums of an image (one per slot, or 1).
"""

from dataclasses import dataclass

from torch import Tensor

from ovocr.trainer.heads.margin import Margin

LARGEST_LOGIT = 64.0
SMALLEST_LENGTH = 1e-12  # lengths are clamped to this before a division, so a row of zeros stays zero


@dataclass(frozen=True)
class NegativeSums:
    """Sums over this rank's negatives.

    exp_BK: weighted sum of exp(logit - shift) over the negatives of each sum, [B, K].
    cosine: sum of the cosines of all pairs of an image and a negative of any of its sums, a scalar.
    pairs: number of these pairs, a scalar.
    """

    exp_BK: Tensor
    cosine: Tensor
    pairs: Tensor


def logit_shift(margin: Margin) -> float:
    """Returns the constant subtracted from every logit before exponentiation."""
    return max(0.0, margin.scale - LARGEST_LOGIT)
