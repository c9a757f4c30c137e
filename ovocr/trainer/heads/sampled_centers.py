"""The centers that a rank brings to a step, and where the tags of its images stand among them.

Shape suffixes: S sampled centers of this rank, K slots, B images, T tags of each.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class SampledCenters:
    """The sampled centers of this rank.

    rows: their local row numbers, ascending, int64 [S]; None: all of them (the exact softmax).
    members: which slots' samples each is in, bool [S, K]; None: all slots share one sample.
    size: S.
    """

    rows: Tensor | None
    members: Tensor | None
    size: int

    def positions(self, rows: Tensor) -> Tensor:
        """Where local row numbers stand in the sample; -1 for a row that is not in it, and for the row -1."""
        if self.rows is None:
            return rows
        if self.size == 0:
            return torch.full_like(rows, -1)
        found = torch.searchsorted(self.rows, rows).clamp_(max=self.size - 1)
        return torch.where(self.rows[found] == rows, found, -1)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a sampled center and an image that a tile treats apart, ascending by the center's position."""

    positions: Tensor  # int64 [pairs]
    images: Tensor  # int64 [pairs]

    @classmethod
    def distinct(cls, positions_BT: Tensor) -> "Pairs":
        """Every pair once, whatever number of an image's tags name it; a position of -1 is none."""
        batch = max(1, positions_BT.shape[0])
        keys_BT = positions_BT * batch + torch.arange(positions_BT.shape[0], device=positions_BT.device).unsqueeze(1)
        keys = torch.unique(keys_BT[positions_BT >= 0])
        return cls(keys // batch, keys % batch)

    def cuts(self, tiles: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The range of pairs whose center is in each tile."""
        edges = torch.tensor([first for first, _ in tiles] + [tiles[-1][1]] if tiles else [0])
        found = torch.searchsorted(self.positions, edges.to(self.positions.device)).tolist()
        return list(pairwise(found))
