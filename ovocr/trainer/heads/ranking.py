"""Search for the class centers nearest to an embedding."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

_TILE_CENTERS = 65536  # centers scored and ranked at a time


@torch.no_grad()
def nearest_centers(
    embeddings_BD: Tensor, weight_CD: Tensor, k: int, added_C: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Returns scores and class ids of the k best centers, best first, each [B, min(k, C)].

    The score of a class is the cosine of its center. added_C: number that is added to the cosine, float32; None: 0.
    """
    unit_BD = normalize(embeddings_BD.float(), dim=1)
    scores_BK = unit_BD.new_empty((unit_BD.shape[0], 0))
    classes_BK = torch.empty((unit_BD.shape[0], 0), dtype=torch.int64, device=unit_BD.device)
    for first in range(0, weight_CD.shape[0], _TILE_CENTERS):
        tile_SD = normalize(weight_CD[first : first + _TILE_CENTERS].float(), dim=1)
        scores_BS = unit_BD @ tile_SD.T
        if added_C is not None:
            scores_BS += added_C[first : first + _TILE_CENTERS]
        found = torch.topk(scores_BS, min(k, tile_SD.shape[0]), dim=1)
        scores_BK = torch.cat([scores_BK, found.values], dim=1)
        classes_BK = torch.cat([classes_BK, found.indices + first], dim=1)
        best = torch.topk(scores_BK, min(k, scores_BK.shape[1]), dim=1)
        scores_BK, classes_BK = best.values, classes_BK.gather(1, best.indices)
    return scores_BK, classes_BK
