"""The margin of a positive's logit: ArcFace, CosFace and their combination.

Sources: SphereFace (arXiv 1704.08063, m1), ArcFace (arXiv 1801.07698, m2), CosFace (arXiv 1801.09414, m3).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# acos has an infinite slope at +-1; cosines are clamped to this limit before acos.
COSINE_LIMIT = 1.0 - 1e-6

# Exponentials of logits from -scale to scale must be representable together in float32.
LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class Margin:
    """Margin logit of a positive: scale * (cos(m1 * theta + m2) - m3), theta = acos(cosine).

    ArcFace is m2 > 0, CosFace m3 > 0. Beyond theta + m2 = pi the formula would rise again; there the logit is scale *
    (cos(theta) - m2 * sin(m2) - m3). With m1 other than 1 the plain formula applies everywhere.

    scale: inverse temperature s of the softmax, at most 100.
    filter_threshold: a negative whose cosine exceeds it counts as cosine 0 and has no gradient; None disables the
        filter.
    gradient: "exact", or "straight_through", which uses scale for d logit / d cosine (as published code does).
    """

    scale: float = 64.0
    m1: float = 1.0
    m2: float = 0.5
    m3: float = 0.0
    filter_threshold: float | None = None
    gradient: Literal["exact", "straight_through"] = "exact"

    def __post_init__(self) -> None:
        if not 0 < self.scale <= LARGEST_SCALE:
            raise ValueError(f"scale must be more than 0 and at most {LARGEST_SCALE}, not {self.scale}")
        if not (0 < self.m1 < math.inf and 0 <= self.m2 <= math.pi and 0 <= self.m3 < math.inf):
            raise ValueError(
                f"m1 must be more than 0, m2 from 0 to pi, m3 at least 0: {self.m1=} {self.m2=} {self.m3=}"
            )
        if self.filter_threshold is not None and not -1 <= self.filter_threshold <= 1:
            raise ValueError(f"filter_threshold must be a cosine, -1 to 1, or None: {self.filter_threshold}")
        if self.gradient not in ("exact", "straight_through"):
            raise ValueError(f"gradient must be 'exact' or 'straight_through', not {self.gradient!r}")

    def target(self, cos: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits of positives with these cosines and d logit / d cosine, both of the shape of ``cos``."""
        if self.m1 == 1.0 and self.m2 == 0.0:  # CosFace needs no angle and no clamping
            return self.scale * (cos - self.m3), torch.full_like(cos, self.scale)
        cos = cos.clamp(-COSINE_LIMIT, COSINE_LIMIT)
        theta = torch.acos(cos)
        angle = self.m1 * theta + self.m2
        value = torch.cos(angle)
        slope = self.m1 * torch.sin(angle) / torch.sqrt(1.0 - cos * cos)
        if self.m1 == 1.0:
            beyond = angle > math.pi
            value = torch.where(beyond, cos - self.m2 * math.sin(self.m2), value)
            slope = torch.where(beyond, torch.ones_like(slope), slope)
        if self.gradient == "straight_through":
            slope = torch.ones_like(slope)
        return self.scale * (value - self.m3), self.scale * slope
