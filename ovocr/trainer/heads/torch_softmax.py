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
from ovocr.trainer.heads.sample import Pairs, Sample

# Of a tile's centers, and of its logits, at most. On a CPU a tile is read three times and should stay in the cache
# (2 MiB in float32); on a GPU it has to be large enough to be worth a launch.
_TILE_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 24}


class TorchSoftmax:
    """Sums of exponentials of the negatives, and their gradients, over this rank's sampled centers.

    embeddings_BD: unit rows. weight_CD: this rank's centers, of any length.
    """

    def __init__(self, embeddings_BD: Tensor, weight_CD: Tensor, sample: Sample, margin: Margin) -> None:
        self.embeddings_BD, self.weight_CD, self.sample, self.margin = embeddings_BD, weight_CD, sample, margin
        self.shift = logit_shift(margin)
        width = max(1, _TILE_ELEMENTS[embeddings_BD.device.type] // max(embeddings_BD.shape))
        self.tiles = [(first, min(first + width, sample.size)) for first in range(0, sample.size, width)]
        self._rows = weight_CD.new_empty((min(width, sample.size), weight_CD.shape[1]))
        self._inverse_length_S1 = embeddings_BD.new_empty((sample.size, 1))
        self._skipped = Pairs.distinct(sample.positions(torch.empty((0, 0), dtype=torch.int64)))

    def sums(self, skipped_BT: Tensor) -> NegativeSums:
        """One pass over the centers; an image's pair with any of its rows in skipped_BT (local; -1: none) is left out.

        The same pairs are left out of ``gradients``.
        """
        self._skipped = skipped = Pairs.distinct(self.sample.positions(skipped_BT))
        embeddings_BD, members_SK = self.embeddings_BD, self._members()
        embeddings_sum_D = embeddings_BD.sum(0)
        exp_KB = embeddings_BD.new_zeros((1 if members_SK is None else members_SK.shape[1], embeddings_BD.shape[0]))
        cosine = embeddings_BD.new_zeros(())
        for (first, last), pairs in self._tiles(skipped):
            centers_ND = self._centers(first, last)
            length_N1 = torch.linalg.vector_norm(centers_ND, dim=1, keepdim=True).clamp_(min=SMALLEST_LENGTH)
            inverse_N1 = torch.reciprocal(length_N1, out=self._inverse_length_S1[first:last])
            cos_NB = torch.mm(centers_ND, embeddings_BD.T).mul_(inverse_N1)
            # The sum of a product's entries is the product of the sums: no pass over the tile for it.
            cosine += (inverse_N1.T @ centers_ND @ embeddings_sum_D).sum() - cos_NB[pairs].sum()
            exp_NB = self._exponentials(cos_NB)
            exp_NB[pairs] = 0.0
            if members_SK is None:
                exp_KB += exp_NB.sum(0, keepdim=True)
            else:
                exp_KB.addmm_(members_SK[first:last].T, exp_NB)
        count = embeddings_BD.shape[0] * self.sample.size - skipped.images.shape[0]
        return NegativeSums(exp_KB.T, cosine, cosine.new_tensor(count))

    def gradients(self, weight_BK: Tensor) -> tuple[Tensor, Tensor]:
        """The negatives' part of the gradients, by the unit embeddings [B, D] and by the sampled rows [S, D].

        weight_BK: what d loss / d cos of a negative of slot k is, over its exp(logit - shift); [B, 1] where all slots
        share one sample.
        """
        embeddings_BD, members_SK = self.embeddings_BD, self._members()
        weight_KB = weight_BK.T.contiguous()
        grad_BD = torch.zeros_like(embeddings_BD)
        grad_SD = embeddings_BD.new_empty((self.sample.size, embeddings_BD.shape[1]))
        for (first, last), pairs in self._tiles(self._skipped):
            centers_ND, inverse_N1 = self._centers(first, last), self._inverse_length_S1[first:last]
            cos_NB = torch.mm(centers_ND, embeddings_BD.T).mul_(inverse_N1)
            grad_NB = self._exponentials(cos_NB.clone())
            if self.margin.filter_threshold is not None:
                grad_NB.masked_fill_(cos_NB > self.margin.filter_threshold, 0.0)
            grad_NB *= weight_KB if members_SK is None else members_SK[first:last] @ weight_KB
            grad_NB[pairs] = 0.0
            # A unit row's gradient has no part along the row: what the product puts there, sum over b of g cos, goes.
            along_N1 = cos_NB.mul_(grad_NB).sum(1, keepdim=True).mul_(inverse_N1).mul_(inverse_N1)
            grad_NB *= inverse_N1
            grad_BD.addmm_(grad_NB.T, centers_ND)
            torch.mm(grad_NB, embeddings_BD, out=grad_SD[first:last]).addcmul_(centers_ND, along_N1, value=-1.0)
        return grad_BD, grad_SD

    def _tiles(self, skipped: Pairs) -> Iterator[tuple[tuple[int, int], tuple[Tensor, Tensor]]]:
        """Each tile's range of the sample, and the pairs to skip in it."""
        for tile, (start, stop) in zip(self.tiles, skipped.cuts(self.tiles), strict=True):
            yield tile, (skipped.positions[start:stop] - tile[0], skipped.images[start:stop])

    def _centers(self, first: int, last: int) -> Tensor:
        """Rows of the tile [N, D]; of a sample they lie in a buffer that the next tile overwrites."""
        if self.sample.rows is None:
            rows = self.weight_CD[first:last]
        else:
            rows = self._rows[: last - first]
            torch.index_select(self.weight_CD, 0, self.sample.rows[first:last], out=rows)
        return rows.to(self.embeddings_BD.dtype)

    def _members(self) -> Tensor | None:
        """Membership as numbers, so that a product with it adds up each slot's share."""
        return None if self.sample.members is None else self.sample.members.to(self.embeddings_BD.dtype)

    def _exponentials(self, cos_NB: Tensor) -> Tensor:
        """exp(scale * cos - shift), in place; a cosine above the inter-class filter counts as 0."""
        if self.margin.filter_threshold is not None:
            cos_NB.masked_fill_(cos_NB > self.margin.filter_threshold, 0.0)
        cos_NB *= self.margin.scale
        return cos_NB.sub_(self.shift).exp_() if self.shift else cos_NB.exp_()
