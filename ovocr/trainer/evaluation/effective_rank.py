"""In how many directions embeddings differ: 1 of D where an encoder tells pictures apart along a line only.

    effective rank = exp(-sum p ln p), p = eigenvalues of the covariance of normalised embeddings / their sum

Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO 2007). It is at most D, and less
than the number of pictures. Shapes: B images, D embedding width.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

_NOTHING = 1e-12  # of the squared length of an embedding: below, a difference is one of rounding


class EffectiveRank:
    """Sums over embeddings, float64, from which the effective rank of all of them follows."""

    def __init__(self, embedding_dim: int) -> None:
        self._count = 0
        self._sum_D = torch.zeros(embedding_dim, dtype=torch.float64)
        self._products_DD = torch.zeros(embedding_dim, embedding_dim, dtype=torch.float64)

    def add(self, embeddings_BD: Tensor) -> None:
        """Add embeddings [B, D] of any length and on any device."""
        unit_BD = normalize(embeddings_BD.double(), dim=1).cpu()
        self._count += len(unit_BD)
        self._sum_D += unit_BD.sum(0)
        self._products_DD += unit_BD.T @ unit_BD

    def result(self) -> float | None:
        """From 1 to D, 0 where the embeddings do not differ; None where there are fewer than two."""
        if self._count < 2:
            return None
        mean_D = self._sum_D / self._count
        covariance_DD = self._products_DD / self._count - torch.outer(mean_D, mean_D)
        values_D = torch.linalg.eigvalsh(covariance_DD)
        values_D = values_D[values_D > _NOTHING]
        if not len(values_D):
            return 0.0
        shares_D = values_D / values_D.sum()
        return float(torch.exp(-(shares_D * shares_D.log()).sum()))
