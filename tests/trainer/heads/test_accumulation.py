"""Several backward passes before one optimizer step: gradients are merged row by row, negatives are drawn once."""

import copy

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.optim.row_adamw import RowAdamW
from ovocr.trainer.optim.row_gradients import touched_rows
from ovocr.trainer.training.gradients import squared_norm

CLASSES, DIM, BATCH, PASSES = 307, 13, 6, 4


def batches(passes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(4)
    return [
        (
            torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64),
            torch.randint(0, CLASSES, (BATCH, 11), generator=generator),
        )
        for _ in range(passes)
    ]


def head_with(rate: float, sampling: str, passes: int = PASSES) -> PartialFC:
    head = PartialFC(
        DIM, CLASSES, labels_per_sample=5, sample_rate=rate, sampling=sampling, seed=1, passes_per_step=passes
    )
    generator = torch.Generator().manual_seed(5)
    head.weight = torch.nn.Parameter(torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64))
    return head


def separate_gradients(head: PartialFC) -> list[Tensor]:
    """Returns the sparse gradient of each pass alone, computed with a copy of the head."""
    alone = copy.deepcopy(head)
    found = []
    for embeddings, labels in batches(PASSES):
        alone.weight.grad = None
        alone(embeddings, labels).backward()
        found.append(alone.weight.grad)
    return found


@pytest.mark.parametrize(
    ("rate", "sampling", "dense"), [(0.03, "shared", False), (0.1, "independent", True), (0.3, "independent", True)]
)
def test_gradients_of_passes_are_summed_row_by_row(rate: float, sampling: str, dense: bool) -> None:
    head = head_with(rate, sampling)
    parts = separate_gradients(head)
    for embeddings, labels in batches(PASSES):
        head(embeddings, labels).backward()
        gradient = head.weight.grad
        if gradient.is_sparse:
            assert gradient.is_coalesced()  # each row once, after every pass
    assert head.weight.grad.is_sparse != dense
    torch.testing.assert_close(head.weight.grad.to_dense(), sum(part.to_dense() for part in parts), rtol=1e-12, atol=0)
    touched = torch.cat([part._indices()[0] for part in parts]).unique()
    found = touched_rows(head.weight.grad)
    assert torch.equal(found.rows, touched)
    assert touched.shape[0] < CLASSES


@pytest.mark.parametrize("rate", [0.03, 0.3])
def test_optimizer_updates_only_touched_rows(rate: float, implementation: str) -> None:
    """Even with a dense gradient, a step uses the sum and does not change the state of untouched rows."""
    if implementation == "triton" and torch.cuda.is_available():
        pytest.skip("on CUDA the kernels need CUDA tensors: see test_row_adamw.py")
    head = head_with(rate, "independent")
    head.weight = torch.nn.Parameter(head.weight.detach().float())
    start = head.weight.detach().clone()
    total = sum(part.to_dense() for part in separate_gradients(head))
    for embeddings, labels in batches(PASSES):
        head(embeddings.float(), labels).backward()
    touched = touched_rows(head.weight.grad).rows
    optimizer = RowAdamW([head.weight], lr=0.1, implementation=implementation)
    norm = squared_norm([head.weight]).sqrt()
    assert norm.item() == pytest.approx(torch.linalg.vector_norm(total).item(), rel=1e-4)
    gradient = head.weight.grad.to_dense().clone()
    optimizer.step()
    mask = torch.zeros(CLASSES, dtype=torch.bool)
    mask[touched] = True
    assert 0 < int(mask.sum()) < CLASSES
    assert torch.equal(head.weight[~mask], start[~mask])
    assert torch.equal(optimizer.state[head.weight]["row_steps"].bool(), mask)
    reference = torch.nn.Parameter(start.clone())
    reference.grad = gradient
    torch.optim.AdamW([reference], lr=0.1, weight_decay=0.01).step()
    torch.testing.assert_close(head.weight[mask], reference[mask], rtol=1e-4, atol=1e-5)


def test_first_pass_is_not_copied_or_scanned() -> None:
    head = head_with(0.1, "independent", passes=1)
    embeddings, labels = batches(1)[0]
    head(embeddings, labels).backward()
    assert head.weight.grad.is_coalesced()
    assert touched_rows(head.weight.grad).values.data_ptr() == head.weight.grad._values().data_ptr()


def test_passes_share_negatives_and_draw_own_slots() -> None:
    head = head_with(0.1, "shared")
    labels = torch.arange(CLASSES)[:33].view(3, 11)
    embeddings = torch.randn(3, DIM, dtype=torch.float64)
    drawn, rows = [], []
    for _ in range(2 * PASSES):
        drawn.append(head.draw_positives(labels))
        positives = drawn[-1].unique()
        sample = head.draw_sample(drawn[-1]).rows
        rows.append(sample[~torch.isin(sample, torch.arange(33)) & ~torch.isin(sample, positives)])
        head(embeddings, labels)
    for step in (slice(0, PASSES), slice(PASSES, None)):
        assert all(torch.equal(rows[step][0], other) for other in rows[step][1:])
    assert not torch.equal(rows[0], rows[PASSES])
    assert not torch.equal(drawn[0], drawn[1])


def test_exact_gradients_accumulate_like_dense_ones() -> None:
    head = head_with(1.0, "independent")
    parts = [part.clone() for part in separate_gradients(head)]
    for embeddings, labels in batches(PASSES):
        head(embeddings, labels).backward()
    torch.testing.assert_close(head.weight.grad, sum(parts), rtol=1e-12, atol=1e-15)
    assert touched_rows(head.weight.grad).rows is None


def test_zeroed_gradients_move_no_row() -> None:
    """zero_grad(set_to_none=False) keeps a tensor of zeros, which must not move any row."""
    head = head_with(0.3, "independent")
    for embeddings, labels in batches(PASSES):
        head(embeddings, labels).backward()
    assert not head.weight.grad.is_sparse
    optimizer = RowAdamW([head.weight], lr=0.1)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    before = head.weight.detach().clone()
    optimizer.step()
    assert torch.equal(head.weight, before)


def test_other_loss_terms_reach_every_row() -> None:
    head = head_with(0.3, "independent")
    for embeddings, labels in batches(PASSES):
        head(embeddings, labels).backward()
    head.weight.sum().backward()
    assert touched_rows(head.weight.grad).rows.shape[0] == CLASSES


def test_two_losses_in_one_backward() -> None:
    head = head_with(0.1, "shared")
    parts = separate_gradients(head)
    losses = [head(embeddings, labels) for embeddings, labels in batches(PASSES)]
    sum(losses).backward()
    torch.testing.assert_close(head.weight.grad.to_dense(), sum(part.to_dense() for part in parts), rtol=1e-12, atol=0)
    found = touched_rows(head.weight.grad)
    assert (found.rows.diff() > 0).all()
