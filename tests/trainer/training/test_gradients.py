"""Gradient norms and clipping against values computed by hand: dense, sparse and missing gradients."""

import pytest
import torch

from ovocr.trainer.optim.row_gradients import RowGradient, touched_rows
from ovocr.trainer.training.gradients import clip, squared_norm


def parameter(gradient: torch.Tensor | None) -> torch.nn.Parameter:
    made = torch.nn.Parameter(torch.zeros(gradient.shape if gradient is not None else (2,)))
    made.grad = gradient
    return made


def clipped(parameters: list[torch.nn.Parameter], limit: float) -> float:
    """Clips like a training step; returns the norm before clipping."""
    norm = squared_norm(parameters).sqrt()
    assert norm.shape == (1,)
    clip(parameters, norm, limit)
    return norm.item()


def test_clips_to_the_limit_and_returns_the_norm() -> None:
    parameters = [parameter(torch.tensor([3.0, 0.0])), parameter(None), parameter(torch.tensor([[4.0]]))]
    assert clipped(parameters, 1.0) == 5.0
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.0])
    assert parameters[2].grad.tolist() == [pytest.approx([0.8])]
    assert parameters[1].grad is None


def test_small_gradients_are_not_changed() -> None:
    own = parameter(torch.tensor([3.0, 4.0]))
    assert clipped([own], 5.5) == 5.0
    assert own.grad.tolist() == [3.0, 4.0]


def test_repeated_rows_count_as_their_sum() -> None:
    values = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 4.0]])
    twice = torch.sparse_coo_tensor(torch.tensor([[2, 0, 2]]), values, (4, 2), check_invariants=True)
    own = parameter(twice)
    assert clipped([own], 2.5) == pytest.approx(34**0.5)  # rows (3, 0) and (3, 4)
    norm = torch.linalg.vector_norm(own.grad.to_dense()).item()
    assert norm == pytest.approx(2.5, rel=1e-5)


def test_missing_gradient_has_norm_0() -> None:
    assert clipped([parameter(None)], 1.0) == 0.0


def test_ascending_rows_are_not_copied() -> None:
    values = torch.randn(2, 3)
    unmarked = torch.sparse_coo_tensor(torch.tensor([[1, 4]]), values, (6, 3), check_invariants=True)
    assert not unmarked.is_coalesced()
    found = touched_rows(unmarked)
    assert found.rows.tolist() == [1, 4]
    assert found.values.data_ptr() == unmarked._values().data_ptr()
    found = touched_rows(torch.sparse_coo_tensor(torch.tensor([[4, 1]]), values, (6, 3), check_invariants=True))
    assert found.rows.tolist() == [1, 4]
    assert torch.equal(found.values, values.flip(0))
    assert touched_rows(values) == RowGradient(None, values)
