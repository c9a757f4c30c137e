"""Memory is reused, but never while it is referenced."""

import torch

from ovocr.trainer.kernels.workspace import ReusableMemory, Workspace


def test_name_keeps_its_memory() -> None:
    workspace = Workspace(torch.device("cpu"), torch.float32)
    first = workspace.matrix("rows", 5, 3)
    assert workspace.matrix("rows", 2, 3).data_ptr() == first.data_ptr()
    assert workspace.matrix("other", 5, 3).data_ptr() != first.data_ptr()
    assert workspace.matrix("rows", 6, 3).shape == (6, 3)


def test_unreferenced_memory_is_reused() -> None:
    memory = ReusableMemory()
    first = memory.matrix(100, 7, torch.float32)
    address = first.data_ptr()
    assert address % 64 == 0
    del first
    assert memory.matrix(90, 7, torch.float32).data_ptr() == address
    assert memory.matrix(30, 7, torch.float64).data_ptr() == address


def test_referenced_memory_is_not_reused() -> None:
    memory = ReusableMemory()
    sparse = torch.sparse_coo_tensor(
        torch.tensor([[1, 4]]), memory.matrix(2, 3, torch.float32).fill_(1.0), (6, 3), check_invariants=True
    )
    second = memory.matrix(2, 3, torch.float32).fill_(2.0)
    assert sparse.to_dense().sum() == 6.0
    part = second[1:]
    del second
    memory.matrix(2, 3, torch.float32).fill_(3.0)
    assert part.tolist() == [[2.0, 2.0, 2.0]]


def test_matrix_without_rows() -> None:
    assert ReusableMemory().matrix(0, 7, torch.float32).shape == (0, 7)
