"""Softmax over sampled class centers by Triton kernels: the counterpart of ``TorchSoftmax`` on CUDA.

Centers are processed in chunks. The first kernel gathers the rows of a chunk, divides them by their length and rounds
them to the dtype of the products. The tensor cores then read both factors directly from memory, and rounding is done
once although, with 1,024 images, eight programs use each center.

In the forward pass one kernel multiplies a chunk with the embeddings and adds up the exponentials for all sums, without
writing logits. In the backward pass one kernel recomputes the cosines and writes their gradients in the products'
dtype; two more kernels multiply these gradients with the embeddings and with the centers. Besides the gradient itself,
only a few chunks and one bit per pair of image and center are stored.

Products are in bfloat16 if the embeddings were, or if ``torch.set_float32_matmul_precision`` is "medium"; in tf32 if it
is "high"; else in float32. All sums are in float32 and in a fixed order.

Shape suffixes: B images of the global batch, D embedding size, C this rank's centers, S sampled centers, N sampled
centers of a chunk, K sums of an image (one per slot, or 1), X skipped classes of an image, P partial sums.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.negative_sums import SMALLEST_LENGTH, NegativeSums, logit_shift
from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.kernels.center_gradients import center_gradients
from ovocr.trainer.kernels.embedding_gradients import add_embedding_gradients
from ovocr.trainer.kernels.logit_gradients import logit_gradients
from ovocr.trainer.kernels.negative_sums import negative_sums
from ovocr.trainer.kernels.skipped_pairs import skipped_pairs_mask
from ovocr.trainer.kernels.tiling import tilings_for
from ovocr.trainer.kernels.unit_rows import gather_unit_rows

_CHUNK_BYTES = 48 << 20  # maximum size of a chunk's unit rows and of its gradients
_PARTIALS = 8  # programs that share a tile of the sums, because few images make few tiles
_MAX_SUMS = 32  # the kernels' loop over sums is unrolled


class TritonSoftmax:
    """Computes sums of exponentials of the negatives, and their gradients, over this rank's sampled centers.

    embeddings_BD: unit rows, float32.
    weight_CD: this rank's centers, float32.
    products: dtype of the products, bfloat16 or float32.

    Raises ValueError for inputs that the kernels do not support.
    """

    def __init__(
        self, embeddings_BD: Tensor, weight_CD: Tensor, sample: SampledCenters, margin: Margin, products: torch.dtype
    ) -> None:
        for name, tensor in (("embeddings", embeddings_BD), ("centers", weight_CD)):
            if tensor.dtype != torch.float32:
                raise ValueError(f"Triton kernels need float32 {name}, not {tensor.dtype}; use implementation='torch'")
        if sample.weights is not None and sample.weights.shape[1] > _MAX_SUMS:
            raise ValueError(
                f"Triton kernels support at most {_MAX_SUMS} independent slots; use implementation='torch'"
            )
        self.weight_CD, self.sample, self.margin = weight_CD.contiguous(), sample, margin
        self.shift = logit_shift(margin)
        self.embeddings_BD = embeddings_BD.to(products).contiguous()
        self._weights_SK = None if sample.weights is None else sample.weights.contiguous()
        self._sum_count = 1 if sample.weights is None else sample.weights.shape[1]
        self._tilings = tilings_for(products, _capability(weight_CD.device))
        self._inverse_S = embeddings_BD.new_empty(sample.size)
        self._mask_SW = embeddings_BD.new_empty((0, 0), dtype=torch.int32)

    def sums(self, skipped_BX: Tensor) -> NegativeSums:
        """See ``TorchSoftmax.sums``."""
        batch, size = self.embeddings_BD.shape[0], self.sample.size
        self._mask_SW, skipped = skipped_pairs_mask(self.sample.positions(skipped_BX), size)
        exp_BK = self._inverse_S.new_zeros((batch, self._sum_count))
        cosine = self._inverse_S.new_zeros(())
        for first, last, unit_ND in self._chunks():
            chunk_BK, chunk_cosine = negative_sums(
                unit_ND,
                self.embeddings_BD,
                self._mask_SW[first:last],
                self._weights(first, last),
                scale=self.margin.scale,
                shift=self.shift,
                filter_threshold=self.margin.filter_threshold,
                tiling=self._tilings.sums.fitting(last - first, batch, unit_ND.shape[1]),
            )
            exp_BK += chunk_BK
            cosine += chunk_cosine
        return NegativeSums(exp_BK, cosine, float(batch * size) - skipped[0])

    def gradients(self, slope_BK: Tensor, grad_SD: Tensor) -> Tensor:
        """See ``TorchSoftmax.gradients``."""
        batch, dim = self.embeddings_BD.shape
        slope_KB = slope_BK.T.contiguous()
        partial_PBD = self.weight_CD.new_zeros((_PARTIALS, batch, dim))
        for first, last, unit_ND in self._chunks():
            size = (last - first, batch, dim)
            gradient_NB, along_N = logit_gradients(
                unit_ND,
                self.embeddings_BD,
                self._mask_SW[first:last],
                self._weights(first, last),
                slope_KB,
                scale=self.margin.scale,
                shift=self.shift,
                filter_threshold=self.margin.filter_threshold,
                tiling=self._tilings.logits.fitting(*size),
            )
            center_gradients(
                gradient_NB,
                self.embeddings_BD,
                unit_ND,
                along_N,
                self._inverse_S[first:last],
                grad_SD[first:last],
                tiling=self._tilings.centers.fitting(*size),
            )
            add_embedding_gradients(gradient_NB, unit_ND, partial_PBD, tiling=self._tilings.embeddings.fitting(*size))
        return partial_PBD.sum(0)

    def _chunks(self) -> Iterator[tuple[int, int, Tensor]]:
        """Yields ranges of the sample and their unit rows [N, D], in a buffer that the next chunk overwrites."""
        size, dim = self.sample.size, self.weight_CD.shape[1]
        length = max(1, _CHUNK_BYTES // (self.embeddings_BD.element_size() * max(self.embeddings_BD.shape)))
        unit = self.embeddings_BD.new_empty((min(length, size), dim))
        for first in range(0, size, length):
            last = min(first + length, size)
            rows = None if self.sample.rows is None else self.sample.rows[first:last]
            unit_ND = unit[: last - first]
            gather_unit_rows(self.weight_CD, rows, first, unit_ND, self._inverse_S[first:last], SMALLEST_LENGTH)
            yield first, last, unit_ND

    def _weights(self, first: int, last: int) -> Tensor | None:
        return None if self._weights_SK is None else self._weights_SK[first:last]


def _capability(device: torch.device) -> int:
    """Returns the major compute capability; 9 for the interpreter, which accepts any."""
    return torch.cuda.get_device_capability(device)[0] if device.type == "cuda" else 9
