"""RowAdamW: AdamW on the touched rows, with each row's own step count."""

import copy
import pickle

import pytest
import torch

from ovocr.trainer.optim import row_optimizer
from ovocr.trainer.optim.row_adamw import RowAdamW


def device_of(implementation: str) -> str:
    """Returns CUDA for Triton if available, else the CPU, where the kernels are interpreted."""
    return "cuda" if implementation == "triton" and torch.cuda.is_available() else "cpu"


def sparse(rows: list[int], values: torch.Tensor, total: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (total, values.shape[1]), check_invariants=True)


def test_dense_gradients_match_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_optimizer, "_CPU_CHUNK_ELEMENTS", 20)  # several chunks, the last one shorter
    torch.manual_seed(0)
    start = torch.randn(17, 5, dtype=torch.float64)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    optimizers = RowAdamW([ours], **options), torch.optim.AdamW([theirs], **options)
    for _ in range(10):
        gradient = torch.randn_like(start)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("touched", ["some", "all"])
def test_implementations_agree(touched: str, implementation: str) -> None:
    """Compares float32 with float64 over steps whose rows overlap."""
    torch.manual_seed(3)
    device = device_of(implementation)
    start = torch.randn(23, 37)
    exact, own = torch.nn.Parameter(start.double()), torch.nn.Parameter(start.to(device))
    options = {"lr": 0.01, "betas": (0.9, 0.999), "weight_decay": 0.1}
    reference = RowAdamW([exact], **options, implementation="torch")
    optimizer = RowAdamW([own], **options, implementation=implementation)
    for step in range(5):
        rows = torch.randperm(23)[: 7 + step].sort().values
        values = torch.randn(len(rows), 37)
        gradient = torch.randn(23, 37) if touched == "all" else sparse(rows.tolist(), values, 23)
        exact.grad, own.grad = gradient.double(), gradient.to(device)
        reference.step()
        optimizer.step()
    torch.testing.assert_close(own.detach().cpu().double(), exact.detach(), rtol=1e-5, atol=1e-6)
    for key in ("exp_avg", "exp_avg_sq", "row_steps"):
        torch.testing.assert_close(
            optimizer.state[own][key].cpu().double(), reference.state[exact][key].double(), rtol=1e-5, atol=1e-8
        )


def test_untouched_rows_do_not_change(implementation: str) -> None:
    device = device_of(implementation)
    parameter = torch.nn.Parameter(torch.ones(6, 3, device=device))
    optimizer = RowAdamW([parameter], lr=0.1, weight_decay=0.5, implementation=implementation)
    parameter.grad = sparse([1, 4], torch.randn(2, 3), 6).to(device)
    optimizer.step()
    assert torch.equal(parameter[[0, 2, 3, 5]].cpu(), torch.ones(4, 3))
    assert (parameter[[1, 4]] != 1).all()
    assert optimizer.state[parameter]["row_steps"].tolist() == [0, 1, 0, 0, 1, 0]


def test_row_touched_late_moves_like_a_fresh_one() -> None:
    torch.manual_seed(1)
    late, fresh = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(1, 3))
    optimizer = RowAdamW([late], lr=0.1, weight_decay=0.0)
    for _ in range(1000):
        late.grad = sparse([0], torch.randn(1, 3), 2)
        optimizer.step()
    gradient = torch.randn(1, 3)
    late.grad, fresh.grad = sparse([1], gradient, 2), gradient
    optimizer.step()
    torch.optim.AdamW([fresh], lr=0.1, weight_decay=0.0).step()
    torch.testing.assert_close(late[1:], fresh)
    torch.testing.assert_close(late[1:].abs(), torch.full((1, 3), 0.1), rtol=1e-4, atol=0)


def test_repeated_rows_are_summed() -> None:
    values = torch.randn(3, 2)
    once, twice = (torch.nn.Parameter(torch.ones(4, 2)) for _ in range(2))
    once.grad = sparse([2, 0], torch.stack([values[0] + values[2], values[1]]), 4)
    twice.grad = sparse([2, 0, 2], values, 4)
    for parameter in (once, twice):
        RowAdamW([parameter]).step()
    torch.testing.assert_close(once, twice)


def test_state_is_saved_and_restored() -> None:
    torch.manual_seed(2)
    gradients = [sparse([0, 2], torch.randn(2, 3), 4) for _ in range(4)]
    whole = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = RowAdamW([whole])
    for gradient in gradients:
        whole.grad = gradient
        optimizer.step()
    first = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = RowAdamW([first])
    for gradient in gradients[:2]:
        first.grad = gradient
        optimizer.step()
    second = torch.nn.Parameter(first.detach().clone())
    resumed = RowAdamW([second])
    resumed.load_state_dict(optimizer.state_dict())
    for gradient in gradients[2:]:
        second.grad = gradient
        resumed.step()
    assert torch.equal(second, whole)


def test_steps_are_counted_in_float32_for_any_parameter_dtype() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.bfloat16))
    optimizer = RowAdamW([parameter])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.state[parameter]["row_steps"] += 1000.0
    resumed = RowAdamW([parameter])
    resumed.load_state_dict(optimizer.state_dict())
    resumed.step()
    assert resumed.state[parameter]["row_steps"].tolist() == [1002.0, 1002.0]


def test_copied_optimizer_steps() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    parameter.grad = torch.ones_like(parameter)
    optimizer = RowAdamW([parameter], implementation="torch")
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (own,) = other.param_groups[0]["params"]
        own.grad = torch.ones_like(own)
        other.step()
        assert (own < 1).all()


def test_strided_tensors_work_or_raise(implementation: str) -> None:
    device = device_of(implementation)
    gradient = torch.randn(4, 6).T.to(device)
    wanted, own = (torch.nn.Parameter(torch.ones(6, 4, device=device)) for _ in range(2))
    wanted.grad, own.grad = gradient.contiguous(), gradient
    for parameter in (wanted, own):
        RowAdamW([parameter], lr=0.1, implementation=implementation).step()
    assert torch.equal(own, wanted)
    strided = torch.nn.Parameter(torch.ones(4, 6, device=device).T)
    strided.grad = gradient
    optimizer = RowAdamW([strided], lr=0.1, implementation=implementation)
    if implementation == "triton":
        with pytest.raises(ValueError, match="contiguous"):
            optimizer.step()
    else:
        optimizer.step()
        assert torch.equal(strided, wanted)


def test_invalid_arguments_raise() -> None:
    with pytest.raises(ValueError, match="implementation must be"):
        RowAdamW([torch.nn.Parameter(torch.zeros(3, 3))], implementation="fast")
    with pytest.raises(ValueError, match="lr=nan"):
        RowAdamW([torch.nn.Parameter(torch.zeros(3, 3))], lr=float("nan"))
    optimizer = RowAdamW([torch.nn.Parameter(torch.zeros(3, 3))])
    with pytest.raises(ValueError, match="RowAdamW accepts only matrices"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(3))]})
    assert len(optimizer.param_groups) == 1
    with pytest.raises(ValueError, match="RowAdamW accepts only matrices"):
        RowAdamW([torch.nn.Parameter(torch.zeros(3))])
    with pytest.raises(ValueError, match="lr=-1"):
        RowAdamW([torch.nn.Parameter(torch.zeros(3, 3))], lr=-1)
