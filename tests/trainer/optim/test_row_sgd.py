"""RowSGD: momentum SGD on the touched rows."""

import pytest
import torch

from ovocr.trainer.optim.row_sgd import RowSGD


def sparse(rows: list[int], values: torch.Tensor, total: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (total, values.shape[1]), check_invariants=True)


def test_dense_gradients_match_torch_sgd() -> None:
    torch.manual_seed(0)
    start = torch.randn(17, 5, dtype=torch.float64)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    optimizers = RowSGD([ours], **options), torch.optim.SGD([theirs], **options)
    for _ in range(10):
        gradient = torch.randn_like(start)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_touched_rows_move_independently(implementation: str) -> None:
    """A row follows torch's SGD over the steps that touch it; other rows do not change."""
    device = "cuda" if implementation == "triton" and torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    start = torch.randn(6, 5)
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    own = torch.nn.Parameter(start.to(device))
    optimizer = RowSGD([own], **options, implementation=implementation)
    alone = [torch.nn.Parameter(row.clone()) for row in start]
    theirs = [torch.optim.SGD([row], **options) for row in alone]
    for rows in ([0, 4], [4], [1, 4, 5], [0]):
        values = torch.randn(len(rows), 5)
        own.grad = sparse(rows, values, 6).to(device)
        optimizer.step()
        for row, value in zip(rows, values, strict=True):
            alone[row].grad = value
            theirs[row].step()
    torch.testing.assert_close(own.detach().cpu(), torch.stack([row.detach() for row in alone]), rtol=1e-5, atol=1e-6)
    assert torch.equal(own[[2, 3]].detach().cpu(), start[[2, 3]])


def test_state_is_saved_and_restored() -> None:
    torch.manual_seed(2)
    gradients = [sparse([0, 2], torch.randn(2, 3), 4) for _ in range(4)]
    whole, first = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
    optimizer, begun = RowSGD([whole]), RowSGD([first])
    for gradient in gradients:
        whole.grad = gradient
        optimizer.step()
    for gradient in gradients[:2]:
        first.grad = gradient
        begun.step()
    second = torch.nn.Parameter(first.detach().clone())
    resumed = RowSGD([second])
    resumed.load_state_dict(begun.state_dict())
    for gradient in gradients[2:]:
        second.grad = gradient
        resumed.step()
    assert torch.equal(second, whole)


def test_invalid_arguments_raise() -> None:
    with pytest.raises(ValueError, match="RowSGD accepts only matrices"):
        RowSGD([torch.nn.Parameter(torch.zeros(3))])
    with pytest.raises(ValueError, match="momentum=1"):
        RowSGD([torch.nn.Parameter(torch.zeros(3, 3))], momentum=1.0)
