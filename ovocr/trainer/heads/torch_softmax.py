"""Softmax over sampled class centers in plain torch, one tile of centers at a time: nothing of size batch x sample
is kept.

Rows of centers are never written normalised: their lengths enter the far smaller [tile, B] matrices of cosines and
their gradients, and the projection that normalising puts into a row's gradient is one sum over those.

Shape suffixes: B images of the global batch, D embedding size, C this rank's centers, S sampled ones of them, N of
those in one tile, K slots (1 where all slots share one sample), T tags of an image.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.negative_sums import SMALLEST_LENGTH, NegativeSums, logit_shift
from ovocr.trainer.heads.sampled_centers import Pairs, SampledCenters
from ovocr.trainer.kernels.workspace import Workspace

# Of a tile's centers, and of its logits, at most. On a CPU a tile is read three times and should stay in the cache
# (4 MiB in float32); on a GPU it has to be large enough to be worth a launch.
_CPU_TILE_ELEMENTS = 1 << 20
_DEVICE_TILE_ELEMENTS = 1 << 24
# Cosines of the first centers that the backward pass does not have to work out again. A bound, not a share: whatever
# the batch and the sample, no more is kept.
_KEPT_BYTES = 64 << 20


class TorchSoftmax:
    """Sums of exponentials of the negatives, and their gradients, over this rank's sampled centers.

    embeddings_BD: unit rows. weight_CD: this rank's centers, of any length.
    """

    def __init__(self, embeddings_BD: Tensor, weight_CD: Tensor, sample: SampledCenters, margin: Margin) -> None:
        self.embeddings_BD, self.weight_CD, self.sample, self.margin = embeddings_BD, weight_CD, sample, margin
        self.shift = logit_shift(margin)
        elements = _CPU_TILE_ELEMENTS if embeddings_BD.device.type == "cpu" else _DEVICE_TILE_ELEMENTS
        width = max(1, elements // max(embeddings_BD.shape))
        self.tiles = [(first, min(first + width, sample.size)) for first in range(0, sample.size, width)]
        self._kept = _KEPT_BYTES // max(1, embeddings_BD.element_size() * embeddings_BD.shape[0])
        self._cos = embeddings_BD.new_empty((min(self._kept, sample.size), embeddings_BD.shape[0]))
        self._rows = Workspace(weight_CD.device, weight_CD.dtype)
        self._workspace = Workspace(embeddings_BD.device, embeddings_BD.dtype)
        self._inverse_length_S1 = embeddings_BD.new_empty((sample.size, 1))
        self._members_SK = None if sample.members is None else sample.members.to(embeddings_BD.dtype)
        nothing = torch.empty(0, dtype=torch.int64, device=embeddings_BD.device)
        self._skipped = Pairs(nothing, nothing)

    def sums(self, skipped_BT: Tensor) -> NegativeSums:
        """One pass over the centers; an image's pair with any of its rows in skipped_BT (local; -1: none) is left out.

        The same pairs are left out of ``gradients``.
        """
        self._skipped = Pairs.distinct(self.sample.positions(skipped_BT))
        embeddings_BD, members_SK = self.embeddings_BD, self._members_SK
        slots = 1 if members_SK is None else members_SK.shape[1]
        exp_KB = embeddings_BD.new_zeros((slots, embeddings_BD.shape[0]))
        cosine = embeddings_BD.new_zeros(())
        for (first, last), pairs in self._tiles():
            centers_ND = self._centers(first, last)
            length_N1 = torch.linalg.vector_norm(centers_ND, dim=1, keepdim=True).clamp_(min=SMALLEST_LENGTH)
            torch.reciprocal(length_N1, out=self._inverse_length_S1[first:last])
            cos_NB = self._cosines(first, last, centers_ND)
            cosine += cos_NB.sum()
            exp_NB = self._exponentials(cos_NB)
            if pairs is not None:
                cosine -= cos_NB[pairs].sum()
                exp_NB[pairs] = 0.0
            if members_SK is None:
                exp_KB += exp_NB.sum(0, keepdim=True)
            else:
                exp_KB.addmm_(members_SK[first:last].T, exp_NB)
        count = embeddings_BD.shape[0] * self.sample.size - self._skipped.images.shape[0]
        return NegativeSums(exp_KB.T, cosine, cosine.new_tensor(count))

    def gradients(self, weight_BK: Tensor, grad_SD: Tensor) -> Tensor:
        """The negatives' part of the gradients: by the rows into grad_SD, by the unit embeddings returned [B, D].

        weight_BK: what d loss / d cos of a negative of slot k is, over its exp(logit - shift); [B, 1] where all slots
        share one sample.
        """
        embeddings_BD, members_SK = self.embeddings_BD, self._members_SK
        weight_KB = weight_BK.T.contiguous()
        grad_BD = torch.zeros_like(embeddings_BD)
        for (first, last), pairs in self._tiles():
            centers_ND, inverse_N1 = self._centers(first, last), self._inverse_length_S1[first:last]
            cos_NB = self._cos[first:last] if last <= self._kept else self._cosines(first, last, centers_ND)
            grad_NB = self._exponentials(cos_NB)
            if self.margin.filter_threshold is not None:
                grad_NB.masked_fill_(cos_NB > self.margin.filter_threshold, 0.0)
            grad_NB *= weight_KB if members_SK is None else members_SK[first:last] @ weight_KB
            if pairs is not None:
                grad_NB[pairs] = 0.0
            # A unit row's gradient has no part along the row: what the product puts there, sum over b of g cos, goes.
            product_NB = torch.mul(cos_NB, grad_NB, out=self._workspace.matrix("products", *cos_NB.shape))
            along_N1 = product_NB.sum(1, keepdim=True).mul_(inverse_N1).mul_(inverse_N1)
            grad_NB *= inverse_N1
            grad_BD.addmm_(grad_NB.T, centers_ND)
            torch.mm(grad_NB, embeddings_BD, out=grad_SD[first:last]).addcmul_(centers_ND, along_N1, value=-1.0)
        return grad_BD

    def _tiles(self) -> Iterator[tuple[tuple[int, int], tuple[Tensor, Tensor] | None]]:
        """Each tile's range of the sample, and the pairs to skip in it, None where there are none."""
        skipped = self._skipped
        for tile, (start, stop) in zip(self.tiles, skipped.cuts(self.tiles), strict=True):
            pairs = (skipped.positions[start:stop] - tile[0], skipped.images[start:stop]) if start < stop else None
            yield tile, pairs

    def _centers(self, first: int, last: int) -> Tensor:
        """Rows of the tile [N, D]; of a sample they lie in a buffer that the next tile overwrites."""
        if self.sample.rows is None:
            rows = self.weight_CD[first:last]
        else:
            rows = self._rows.matrix("rows", last - first, self.weight_CD.shape[1])
            torch.index_select(self.weight_CD, 0, self.sample.rows[first:last], out=rows)
        return rows.to(self.embeddings_BD.dtype)

    def _cosines(self, first: int, last: int, centers_ND: Tensor) -> Tensor:
        """Cosines of the tile [N, B], in memory that is kept where there is room, else in a buffer."""
        kept = last <= self._kept
        batch = self.embeddings_BD.shape[0]
        cos_NB = self._cos[first:last] if kept else self._workspace.matrix("cosines", last - first, batch)
        return torch.mm(centers_ND, self.embeddings_BD.T, out=cos_NB).mul_(self._inverse_length_S1[first:last])

    def _exponentials(self, cos_NB: Tensor) -> Tensor:
        """exp(scale * cos - shift) in a buffer; a cosine above the inter-class filter counts as 0."""
        logit_NB = self._workspace.matrix("exponentials", *cos_NB.shape)
        torch.mul(cos_NB, self.margin.scale, out=logit_NB)
        if self.margin.filter_threshold is not None:
            logit_NB.masked_fill_(cos_NB > self.margin.filter_threshold, 0.0)
        return logit_NB.sub_(self.shift).exp_() if self.shift else logit_NB.exp_()
