"""Cosines: equal embeddings, products in float32, several chunks of classes."""

import numpy as np
import pytest
import torch

from ovocr.trainer.measures import cosines
from ovocr.trainer.measures.cosines import ImageCosines


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosines_match_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosines, "_MAX_CLASSES", 16)
    embeddings, weight = random(37, 19) * 5, random(80, 19, seed=1)
    rows = np.array([3, 4, 9, 70, *range(10, 60)])
    found = np.stack(list(ImageCosines(embeddings).of_classes(weight, rows)))
    wanted = torch.nn.functional.cosine_similarity(
        weight.double()[rows][:, None], embeddings.double()[None], dim=2, eps=1e-12
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_equal_embeddings_have_equal_cosines() -> None:
    distinct = random(23, 67)
    number = np.random.default_rng(0).integers(0, 23, 101)
    for cosines_N in ImageCosines(distinct[torch.from_numpy(number)]).of_classes(random(5, 67, seed=1), np.arange(5)):
        for own in range(23):
            assert len(set(cosines_N[number == own].tolist())) <= 1
        assert len(set(cosines_N.tolist())) == len(set(number.tolist()))


def test_cosine_of_a_class_does_not_depend_on_the_other_classes() -> None:
    embeddings, weight = ImageCosines(random(61, 33)), random(300, 33, seed=1)
    every = list(embeddings.of_classes(weight, np.arange(300)))
    (alone,) = embeddings.of_classes(weight[17:18], np.arange(1))
    assert alone.tolist() == every[17].tolist()


def test_lower_precision_of_training_is_not_used() -> None:
    embeddings, weight = random(20, 64), random(3, 64, seed=1)
    wanted = np.stack(list(ImageCosines(embeddings).of_classes(weight, np.arange(3))))
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = np.stack(list(ImageCosines(embeddings).of_classes(weight, np.arange(3))))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.tolist() == wanted.tolist()


def test_embedding_without_length_has_cosine_0() -> None:
    (found,) = ImageCosines(torch.zeros(3, 8)).of_classes(random(1, 8), np.arange(1))
    assert found.tolist() == [0, 0, 0]
