"""Cosines of class centers to all images, a few classes at a time.

Equal embeddings have equal cosines: each distinct embedding is multiplied once, because the last bit of a product may
depend on its position in a matrix. For the same reason all products of an evaluation have the same shape, whatever the
number of classes that a rank has.

Shapes: N images, U distinct embeddings, D embedding size, W classes at a time.
"""

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, pad

from ovocr.trainer.measures.full_precision import full_precision

_CHUNK_COSINES = 2**25  # cosines that are held at a time, 128 MiB
_MAX_CLASSES = 1024
_HASHED_ROWS = 4096
_SHORTEST = 1e-12  # shorter embeddings are divided by this length, as torch's normalize does


class ImageCosines:
    """Embeddings of images, ready to be compared with class centers.

    embeddings_ND: of any length, on any device. Memory: the embeddings; a second copy if some of them are equal.
    """

    def __init__(self, embeddings_ND: Tensor) -> None:
        first_U, row_N = _distinct_rows(embeddings_ND)
        self._row_N = None if len(first_U) == len(row_N) else row_N
        distinct_UD = embeddings_ND if self._row_N is None else embeddings_ND[torch.from_numpy(first_U)]
        self._distinct_UD = distinct_UD.detach().float()
        self._length_U = torch.linalg.vector_norm(self._distinct_UD, dim=1).clamp_min(_SHORTEST)
        self._classes = max(16, min(_MAX_CLASSES, _CHUNK_COSINES // max(1, len(row_N))))

    def of_classes(self, weight_CD: Tensor, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """Yields the cosines of some rows of the centers to all images, float32 [N] each, in the order of the rows."""
        for start in range(0, len(rows), self._classes):
            own = torch.from_numpy(rows[start : start + self._classes]).to(weight_CD.device)
            centers_WD = normalize(weight_CD.detach()[own].to(self._distinct_UD.device).float(), dim=1)
            centers_WD = pad(centers_WD, (0, 0, 0, self._classes - len(own)))
            with full_precision(centers_WD.device):
                cosines_WU = (centers_WD @ self._distinct_UD.T) / self._length_U
            for cosines_U in cosines_WU[: len(own)].cpu().numpy():
                yield cosines_U if self._row_N is None else cosines_U[self._row_N]


def _distinct_rows(embeddings_ND: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the first image with each distinct embedding, [U], and the number of each image's embedding, [N]."""
    first: list[int] = []
    number_of: dict[bytes, int] = {}
    row_N = np.empty(len(embeddings_ND), np.int64)
    for start in range(0, len(embeddings_ND), _HASHED_ROWS):
        rows = embeddings_ND[start : start + _HASHED_ROWS].detach().float().cpu().contiguous().numpy()
        for image, row in enumerate(rows, start):
            number = number_of.setdefault(blake2b(row.data, digest_size=16).digest(), len(first))
            if number == len(first):
                first.append(image)
            row_N[image] = number
    return np.array(first, np.int64), row_N
