"""Softmax over sampled class centers, one tile of centers at a time: nothing of size batch x sample is kept.

The negatives of an image b share one exponential each, exp(s * cos_bc), among all K slots; a slot's sum takes those
that are in its sample. Logits are bounded by the scale s, so a fixed shift max(0, s - 64) stands in for a running
maximum: exp(64) times two million classes fits float32, and for s up to 83 no term is flushed to zero.

Shape suffixes: B images of the global batch, D embedding size, C this rank's centers, S sampled ones of them, K slots
(1 where all slots share one sample), P pairs of an image and one of its own tags that is in the sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin

_TILE_ELEMENTS = 1 << 21  # of a tile's logits, and of its centers, at most: 8 MiB in float32
_LARGEST_LOGIT = 64.0


@dataclass(frozen=True)
class Sample:
    """The centers that this rank brings to a step.

    rows: their local row numbers, ascending, int64 [S]; None: all of them (the exact softmax).
    members: which slots' samples each is in, bool [S, K]; None: all slots share one sample.
    """

    rows: Tensor | None
    members: Tensor | None
    size: int

    def positions(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where local row numbers stand in the sample, and which of them do (a position is valid only there)."""
        if self.rows is None:
            return rows, (rows >= 0) & (rows < self.size)
        if self.size == 0:
            return torch.zeros_like(rows), torch.zeros_like(rows, dtype=torch.bool)
        found = torch.searchsorted(self.rows, rows).clamp_(max=self.size - 1)
        return found, self.rows[found] == rows


@dataclass(frozen=True)
class Pairs:
    """Pairs of an image and a sampled center that a tile treats apart, ascending by the center's position."""

    images: Tensor  # int64 [P]
    positions: Tensor  # int64 [P]

    @classmethod
    def of(cls, images: Tensor, positions: Tensor) -> tuple["Pairs", Tensor]:
        """The pairs in ascending order of position, and that order."""
        positions, order = torch.sort(positions, stable=True)
        return cls(images[order], positions), order

    def cuts(self, tiles: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The range of pairs whose center is in each tile."""
        edges = torch.tensor([first for first, _ in tiles] + [tiles[-1][1]] if tiles else [0])
        found = torch.searchsorted(self.positions, edges.to(self.positions.device)).tolist()
        return list(pairwise(found))


def unit(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows divided by their length, and the lengths [rows, 1]; a row of zeros stays zero."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)
    return rows / length, length


class TiledSoftmax:
    """Sums of exponentials of the negatives, and their gradients, over this rank's sampled centers."""

    def __init__(self, embeddings_BD: Tensor, weight_CD: Tensor, sample: Sample, margin: Margin) -> None:
        self.embeddings_BD = embeddings_BD
        self.weight_CD = weight_CD
        self.sample = sample
        self.margin = margin
        self.shift = max(0.0, margin.scale - _LARGEST_LOGIT)
        width = max(1, _TILE_ELEMENTS // max(embeddings_BD.shape))
        self.tiles = [(first, min(first + width, sample.size)) for first in range(0, sample.size, width)]

    def sums(self, skipped: Pairs) -> tuple[Tensor, Tensor]:
        """Sum of exp(logit - shift) over each slot's negatives [B, K or 1], without the pairs in ``skipped``.

        Also the sum of all cosines that entered, a scalar.
        """
        slots = 1 if self.sample.members is None else self.sample.members.shape[1]
        sums_BK = self.embeddings_BD.new_zeros((self.embeddings_BD.shape[0], slots))
        cosines = self.embeddings_BD.new_zeros(())
        for tile, pairs in self._tiles(skipped):
            unit_SD, _ = unit(self._centers(tile))
            cos_BS = self.embeddings_BD @ unit_SD.T
            # The sum of a product's entries is the product of the sums: no pass over the tile for it.
            cosines += self.embeddings_BD.sum(0) @ unit_SD.sum(0) - cos_BS[pairs].sum()
            exp_BS, _ = self._exponentials(cos_BS)
            exp_BS[pairs] = 0.0
            if self.sample.members is None:
                sums_BK += exp_BS.sum(1, keepdim=True)
            else:
                sums_BK += exp_BS @ self.sample.members[tile[0] : tile[1]].to(exp_BS.dtype)
        return sums_BK, cosines

    def gradients(self, skipped: Pairs, weight_BK: Tensor, own: Pairs, own_weight_P: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by the unit embeddings [B, D] and by the sampled rows of the weight [S, D].

        weight_BK: what d loss / d cos of a negative of slot k is, over its exp(logit - shift).
        own_weight_P: d loss / d cos of the pairs ``own``, added to theirs.
        """
        grad_BD = torch.zeros_like(self.embeddings_BD)
        grad_SD = self.embeddings_BD.new_empty((self.sample.size, self.embeddings_BD.shape[1]))
        own_cuts = own.cuts(self.tiles)
        for (tile, pairs), (start, stop) in zip(self._tiles(skipped), own_cuts, strict=True):
            unit_SD, length_S1 = unit(self._centers(tile))
            grad_BS, filtered = self._exponentials(self.embeddings_BD @ unit_SD.T)
            if filtered is not None:
                grad_BS.masked_fill_(filtered, 0.0)
            if self.sample.members is None:
                grad_BS *= weight_BK
            else:
                grad_BS *= weight_BK @ self.sample.members[tile[0] : tile[1]].to(grad_BS.dtype).T
            grad_BS[pairs] = 0.0
            own_pairs = (own.images[start:stop], own.positions[start:stop] - tile[0])
            grad_BS.index_put_(own_pairs, own_weight_P[start:stop], accumulate=True)
            grad_BD += grad_BS @ unit_SD
            grad_unit_SD = grad_BS.T @ self.embeddings_BD
            along_S1 = (grad_unit_SD * unit_SD).sum(1, keepdim=True)
            grad_SD[tile[0] : tile[1]] = (grad_unit_SD - along_S1 * unit_SD) / length_S1
        return grad_BD, grad_SD

    def _tiles(self, skipped: Pairs) -> Iterator[tuple[tuple[int, int], tuple[Tensor, Tensor]]]:
        for tile, (start, stop) in zip(self.tiles, skipped.cuts(self.tiles), strict=True):
            yield tile, (skipped.images[start:stop], skipped.positions[start:stop] - tile[0])

    def _centers(self, tile: tuple[int, int]) -> Tensor:
        first, last = tile
        rows = self.weight_CD[first:last] if self.sample.rows is None else self.weight_CD[self.sample.rows[first:last]]
        return rows.to(self.embeddings_BD.dtype)

    def _exponentials(self, cos_BS: Tensor) -> tuple[Tensor, Tensor | None]:
        """exp(scale * cos - shift), in place of the cosines; and where the inter-class filter held, if there is one."""
        filtered = None
        if self.margin.filter_threshold is not None:
            filtered = cos_BS > self.margin.filter_threshold
            cos_BS.masked_fill_(filtered, 0.0)
        return cos_BS.mul_(self.margin.scale).sub_(self.shift).exp_(), filtered
