import math

import pytest
import torch

from ovocr.trainer.evaluation.effective_rank import EffectiveRank


def effective_rank(embeddings: torch.Tensor, batch: int = 7) -> float | None:
    rank = EffectiveRank(embeddings.shape[1])
    for part in embeddings.split(batch):
        rank.add(part)
    return rank.result()


def test_line_has_rank_1() -> None:
    angles = torch.linspace(-0.01, 0.01, 50)
    line = torch.stack([angles.cos(), angles.sin(), torch.zeros(50)], dim=1)
    assert effective_rank(line) == pytest.approx(1, abs=0.01)


def test_equal_directions_give_their_number() -> None:
    every = torch.cat([torch.eye(6), -torch.eye(6)]) * torch.rand(12, 1).add(0.5)  # lengths do not matter
    assert effective_rank(every) == pytest.approx(6)


def test_matches_singular_values() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(200, 16, generator=generator) @ torch.randn(16, 16, generator=generator) + 1
    unit = torch.nn.functional.normalize(embeddings, dim=1).double()
    squares = torch.linalg.svdvals(unit - unit.mean(0)) ** 2
    shares = squares / squares.sum()
    expected = math.exp(-sum(float(share) * math.log(float(share)) for share in shares))
    assert effective_rank(embeddings) == pytest.approx(expected, rel=1e-4)


def test_equal_embeddings_have_rank_0() -> None:
    assert effective_rank(torch.ones(5, 4)) == 0


def test_single_image_has_no_rank() -> None:
    assert effective_rank(torch.rand(1, 4)) is None
