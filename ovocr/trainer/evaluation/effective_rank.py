"""The number of directions in which embeddings differ: 1 of D if an encoder separates images along one line only.

    effective rank = exp(-sum p ln p), p = eigenvalues of the covariance of normalised embeddings / their sum

Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO 2007). It is at most D
    and less than the number of images.

Shapes: B images, D embedding width.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

_ROUNDING = 1e-12  # smaller variances of unit embeddings are rounding errors


class EffectiveRank:
    """Accumulates embeddings in float64 sums and computes their effective rank."""

    def __init__(self, embedding_dim: int) -> None:
        self._count = 0
        self._sum_D = torch.zeros(embedding_dim, dtype=torch.float64)
        self._products_DD = torch.zeros(embedding_dim, embedding_dim, dtype=torch.float64)

    def add(self, embeddings_BD: Tensor) -> None:
        """Adds embeddings [B, D] of any length and on any device."""
        unit_BD = normalize(embeddings_BD.double(), dim=1).cpu()
        self._count += len(unit_BD)
        self._sum_D += unit_BD.sum(0)
        self._products_DD += unit_BD.T @ unit_BD

    def result(self) -> float | None:
        """Returns a number from 1 to D, 0 if the embeddings do not differ, or None if there are fewer than two."""
        if self._count < 2:
            return None
        mean_D = self._sum_D / self._count
        covariance_DD = self._products_DD / self._count - torch.outer(mean_D, mean_D)
        values_D = torch.linalg.eigvalsh(covariance_DD)
        values_D = values_D[values_D > _ROUNDING]
        if not len(values_D):
            return 0.0
        shares_D = values_D / values_D.sum()
        return float(torch.exp(-(shares_D * shares_D.log()).sum()))
