"""Softmax over sampled class centers in plain torch, tile by tile; nothing of size batch x sample is kept.

Normalised center rows are never stored. Their lengths enter the much smaller [tile, B] matrices of cosines and
gradients, and the projection in the gradient of a normalised row is one sum over those.

Shape suffixes: B images of the global batch, D embedding size, C this rank's centers, S sampled centers, N sampled
centers of a tile, K sums of an image (one per slot, or 1), X skipped classes of an image.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.negative_sums import SMALLEST_LENGTH, NegativeSums, logit_shift
from ovocr.trainer.heads.sampled_centers import Pairs, SampledCenters
from ovocr.trainer.kernels.workspace import Workspace

# Maximum number of elements of a tile's centers and of its logits. On a CPU a tile is read three times and should stay
# in the cache (4 MiB in float32); on a GPU it must be large enough to justify a launch.
_CPU_TILE_ELEMENTS = 1 << 20
_DEVICE_TILE_ELEMENTS = 1 << 24
# Memory for cosines of the first centers, which the backward pass reuses. A fixed limit, independent of batch and
# sample.
_CACHE_BYTES = 64 << 20


class TorchSoftmax:
    """Computes sums of exponentials of the negatives, and their gradients, over this rank's sampled centers.

    embeddings_BD: unit rows.
    weight_CD: this rank's centers, of any length.
    """

    def __init__(self, embeddings_BD: Tensor, weight_CD: Tensor, sample: SampledCenters, margin: Margin) -> None:
        self.embeddings_BD, self.weight_CD, self.sample, self.margin = embeddings_BD, weight_CD, sample, margin
        self.shift = logit_shift(margin)
        elements = _CPU_TILE_ELEMENTS if embeddings_BD.device.type == "cpu" else _DEVICE_TILE_ELEMENTS
        width = max(1, elements // max(embeddings_BD.shape))
        self.tiles = [(first, min(first + width, sample.size)) for first in range(0, sample.size, width)]
        self._cached = _CACHE_BYTES // max(1, embeddings_BD.element_size() * embeddings_BD.shape[0])
        self._cos = embeddings_BD.new_empty((min(self._cached, sample.size), embeddings_BD.shape[0]))
        self._rows = Workspace(weight_CD.device, weight_CD.dtype)
        self._workspace = Workspace(embeddings_BD.device, embeddings_BD.dtype)
        self._inverse_length_S1 = embeddings_BD.new_empty((sample.size, 1))
        self._weights_SK = None if sample.weights is None else sample.weights.to(embeddings_BD.dtype)
        empty = torch.empty(0, dtype=torch.int64, device=embeddings_BD.device)
        self._skipped = Pairs(empty, empty)

    def sums(self, skipped_BX: Tensor) -> NegativeSums:
        """Returns the sums over the negatives, in one pass over the centers.

        skipped_BX: local rows of the classes that are not negatives of each image; -1 is none. Rows may be repeated.
            ``gradients`` skips the same pairs.
        """
        self._skipped = Pairs.distinct(self.sample.positions(skipped_BX))
        embeddings_BD, weights_SK = self.embeddings_BD, self._weights_SK
        slots = 1 if weights_SK is None else weights_SK.shape[1]
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
            if weights_SK is None:
                exp_KB += exp_NB.sum(0, keepdim=True)
            else:
                exp_KB.addmm_(weights_SK[first:last].T, exp_NB)
        count = embeddings_BD.shape[0] * self.sample.size - self._skipped.images.shape[0]
        return NegativeSums(exp_KB.T, cosine, cosine.new_tensor(count))

    def gradients(self, slope_BK: Tensor, grad_SD: Tensor) -> Tensor:
        """Computes the negatives' part of the gradients: writes it for the rows, returns it for the unit embeddings [B,
        D].

        slope_BK: scale * d loss / d sum k of image b, so that times a negative's weight and its exp(logit - shift) it
            is d loss / d cos.
        grad_SD: receives the gradient of the sampled rows.
        """
        embeddings_BD, weights_SK = self.embeddings_BD, self._weights_SK
        slope_KB = slope_BK.T.contiguous()
        grad_BD = torch.zeros_like(embeddings_BD)
        for (first, last), pairs in self._tiles():
            centers_ND, inverse_N1 = self._centers(first, last), self._inverse_length_S1[first:last]
            cos_NB = self._cos[first:last] if last <= self._cached else self._cosines(first, last, centers_ND)
            grad_NB = self._exponentials(cos_NB)
            if self.margin.filter_threshold is not None:
                grad_NB.masked_fill_(cos_NB > self.margin.filter_threshold, 0.0)
            grad_NB *= slope_KB if weights_SK is None else weights_SK[first:last] @ slope_KB
            if pairs is not None:
                grad_NB[pairs] = 0.0
            # The gradient of a unit row has no component along the row; subtract the product's component, the sum over
            # b of g cos.
            product_NB = torch.mul(cos_NB, grad_NB, out=self._workspace.matrix("products", *cos_NB.shape))
            along_N1 = product_NB.sum(1, keepdim=True).mul_(inverse_N1).mul_(inverse_N1)
            grad_NB *= inverse_N1
            grad_BD.addmm_(grad_NB.T, centers_ND)
            torch.mm(grad_NB, embeddings_BD, out=grad_SD[first:last]).addcmul_(centers_ND, along_N1, value=-1.0)
        return grad_BD

    def _tiles(self) -> Iterator[tuple[tuple[int, int], tuple[Tensor, Tensor] | None]]:
        """Yields each tile's range of the sample and the pairs to skip in it, or None if there are no pairs."""
        skipped = self._skipped
        for tile, (start, stop) in zip(self.tiles, skipped.cuts(self.tiles), strict=True):
            pairs = (skipped.positions[start:stop] - tile[0], skipped.images[start:stop]) if start < stop else None
            yield tile, pairs

    def _centers(self, first: int, last: int) -> Tensor:
        """Returns the rows of a tile [N, D]; sampled rows are in a buffer that the next tile overwrites."""
        if self.sample.rows is None:
            rows = self.weight_CD[first:last]
        else:
            rows = self._rows.matrix("rows", last - first, self.weight_CD.shape[1])
            torch.index_select(self.weight_CD, 0, self.sample.rows[first:last], out=rows)
        return rows.to(self.embeddings_BD.dtype)

    def _cosines(self, first: int, last: int, centers_ND: Tensor) -> Tensor:
        """Returns the cosines of a tile [N, B], in the cache if it is large enough, else in a buffer."""
        cached = last <= self._cached
        batch = self.embeddings_BD.shape[0]
        cos_NB = self._cos[first:last] if cached else self._workspace.matrix("cosines", last - first, batch)
        return torch.mm(centers_ND, self.embeddings_BD.T, out=cos_NB).mul_(self._inverse_length_S1[first:last])

    def _exponentials(self, cos_NB: Tensor) -> Tensor:
        """Returns exp(scale * cos - shift) in a buffer; a cosine above the filter threshold counts as 0."""
        logit_NB = self._workspace.matrix("exponentials", *cos_NB.shape)
        torch.mul(cos_NB, self.margin.scale, out=logit_NB)
        if self.margin.filter_threshold is not None:
            logit_NB.masked_fill_(cos_NB > self.margin.filter_threshold, 0.0)
        return logit_NB.sub_(self.shift).exp_() if self.shift else logit_NB.exp_()
