"""Nearest centers found tile by tile."""

import pytest
import torch

from ovocr.trainer.heads import ranking
from ovocr.trainer.heads.ranking import nearest_centers


def test_tiles_find_the_same_centers_as_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_TILE_CENTERS", 17)
    embeddings, weight = torch.randn(5, 8), torch.randn(101, 8)
    cosines, classes = nearest_centers(embeddings, weight, 20)
    every = torch.nn.functional.cosine_similarity(embeddings[:, None], weight[None], dim=2)
    wanted = every.topk(20, dim=1)
    assert torch.equal(classes, wanted.indices)
    torch.testing.assert_close(cosines, wanted.values)
    added = torch.randn(101)
    scores, classes = nearest_centers(embeddings, weight, 20, added)
    wanted = (every + added).topk(20, dim=1)
    assert torch.equal(classes, wanted.indices)
    torch.testing.assert_close(scores, wanted.values)
    assert nearest_centers(embeddings, weight[:3], 20)[1].shape == (5, 3)
