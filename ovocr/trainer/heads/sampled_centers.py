"""The sampled centers of a rank, and the positions of classes in the sample.

Shape suffixes: S sampled centers of this rank, K slots, B images, X skipped classes of an image.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class SampledCenters:
    """The sampled centers of this rank.

    rows: local row numbers, ascending, int64 [S]; None selects all rows (the exact softmax).
    weights: factor of each center's exponential in each sum over negatives, float32 [S, K]; 0 if the center is not in
        the slot's sample. K is 1 if there is one sum for an image. None: one sum, in which every factor is 1.
    size: S.
    """

    rows: Tensor | None
    weights: Tensor | None
    size: int

    def positions(self, rows: Tensor) -> Tensor:
        """Returns positions of local rows in the sample; -1 for rows that are not in it and for row -1."""
        if self.rows is None:
            return rows
        if self.size == 0:
            return torch.full_like(rows, -1)
        found = torch.searchsorted(self.rows, rows).clamp_(max=self.size - 1)
        return torch.where(self.rows[found] == rows, found, -1)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a sampled center and an image that skips it, ascending by the center's position."""

    positions: Tensor  # int64 [pairs]
    images: Tensor  # int64 [pairs]

    @classmethod
    def distinct(cls, positions_BX: Tensor) -> "Pairs":
        """Creates the distinct pairs from the positions that each image skips; -1 is none, repetitions count once."""
        batch = max(1, positions_BX.shape[0])
        keys_BX = positions_BX * batch + torch.arange(positions_BX.shape[0], device=positions_BX.device).unsqueeze(1)
        keys = torch.unique(keys_BX[positions_BX >= 0])
        return cls(keys // batch, keys % batch)

    def cuts(self, tiles: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Returns, for each tile, the range of pairs whose center is in it."""
        edges = torch.tensor([first for first, _ in tiles] + [tiles[-1][1]] if tiles else [0])
        found = torch.searchsorted(self.positions, edges.to(self.positions.device)).tolist()
        return list(pairwise(found))
