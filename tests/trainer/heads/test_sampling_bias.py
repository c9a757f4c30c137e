"""What weights of negatives do: estimates of the sum over all classes, and the rank of frequent classes."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.optim.row_adamw import RowAdamW
from tests.trainer.heads.dense_comparison import head_with, random_inputs

GENTLE = Margin(scale=4.0, m2=0.0)  # no single negative dominates the sum
MODES = {
    "independent": {"sampling": "independent"},
    "independent, no mask": {"sampling": "independent", "mask_own_tags": False},
    "shared": {"sampling": "shared"},
    "soft": {"objective": "soft"},
    "two_sided all": {"objective": "two_sided", "labels_per_sample": "all"},
}


def sums_over_negatives(head: PartialFC, embeddings: Tensor, labels: Tensor, ignored: Tensor) -> Tensor:
    """Returns the sums of the head's current step, [B, K], and [B, 1] for a head with one sum."""
    positives = head.draw_positives(labels)
    inputs = head._loss_inputs(labels, positives, ignored, [len(labels)], torch.float64)
    units = torch.nn.functional.normalize(embeddings, dim=1)
    return inputs.softmax(units, head.weight.detach(), inputs.sample, head.margin).sums(inputs.skipped_BX).exp_BK


@pytest.mark.parametrize("rate", [0.1, 0.4])
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_weighted_sums_estimate_the_full_sum(mode: dict[str, Any], rate: float) -> None:
    """The mean over draws, each with other tags of the images as positives."""
    embeddings, weight, labels = random_inputs(classes=211)
    ignored = torch.randint(-1, 211, (7, 9), generator=torch.Generator().manual_seed(8))
    draws = 300
    found: dict[str, Tensor] = {}
    for negative_weight in ("importance", "none"):
        head = head_with(weight, margin=GENTLE, sample_rate=rate, negative_weight=negative_weight, **mode)
        full = head_with(weight, margin=GENTLE, sample_rate=1.0, **mode)
        sums = []
        for seed in range(draws):
            head.seed = full.seed = seed
            wanted = sums_over_negatives(full, embeddings, labels, ignored)
            sums.append(sums_over_negatives(head, embeddings, labels, ignored) / wanted - 1)
        found[negative_weight] = torch.stack(sums)
    for values in (found["importance"], found["importance"].mean(dim=(1, 2), keepdim=True)):
        error = values.mean(0) / (values.std(0) / draws**0.5)
        assert error.abs().max() < 5
    assert found["none"].mean() < -0.4


KINDS, CLASSES = 8, 300


@functools.cache
def kinds_of_images() -> tuple[Tensor, Tensor, Tensor]:
    """Returns the frequencies of classes in each of 8 kinds of images, and the most and the least frequent classes."""
    generator = torch.Generator().manual_seed(0)
    frequency = (1.0 / torch.arange(1, CLASSES + 1))[torch.randperm(CLASSES, generator=generator)]
    order = frequency.argsort(descending=True)
    of_kinds = frequency * torch.exp(0.5 * torch.randn(KINDS, CLASSES, generator=generator))
    return of_kinds, order[:10], order[100:]


@functools.cache
def trained(**options: Any) -> PartialFC:
    """Returns a head trained on images of known kinds, whose tags are drawn with the frequencies of their kind."""
    of_kinds, _, _ = kinds_of_images()
    generator = torch.Generator().manual_seed(5)
    head = PartialFC(16, CLASSES, labels_per_sample=2, margin=Margin(scale=16.0, m2=0.0), **options)
    optimizer = RowAdamW([head.weight], weight_decay=0.0)
    steps = 800
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - step / steps)
        kinds = torch.randint(0, KINDS, (64,), generator=generator)
        head(torch.eye(KINDS, 16)[kinds], torch.multinomial(of_kinds[kinds], 4, generator=generator)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return head


def advantage_of_frequent_classes(head: PartialFC, *, corrected: bool = False) -> float:
    """Returns the difference of two mean logits: of the most frequent classes and of the least frequent ones."""
    _, frequent, rare = kinds_of_images()
    logits = 16 * torch.nn.functional.normalize(head.weight.detach(), dim=1)[:, :KINDS].T.double()
    if corrected:
        logits = logits + head.ranking_correction()
    return (logits[:, frequent].mean() - logits[:, rare].mean()).item()


@pytest.mark.parametrize(
    ("objective", "sampling"),
    [
        ("slots", "shared"),
        pytest.param("slots", "independent", marks=pytest.mark.slow),
        pytest.param("soft", "shared", marks=pytest.mark.slow),
        pytest.param("two_sided", "shared", marks=pytest.mark.slow),
    ],
)
def test_importance_weights_do_not_press_frequent_classes_down(objective: str, sampling: str) -> None:
    """Compared with the exact head. Without weights, a correction by the counts of the head does the same."""
    exact = advantage_of_frequent_classes(trained(objective=objective, sample_rate=1.0))
    sampled = {"objective": objective, "sampling": sampling, "sample_rate": 0.1}
    plain, weighted = trained(**sampled), trained(**sampled, negative_weight="importance")
    assert advantage_of_frequent_classes(plain) - exact < -1.0
    assert abs(advantage_of_frequent_classes(weighted) - exact) < 0.3
    assert abs(advantage_of_frequent_classes(plain, corrected=True) - exact) < 0.4


def test_only_biased_heads_count() -> None:
    for options in ({"negative_weight": "importance"}, {"sample_rate": 1.0}):
        head = PartialFC(4, 10, **options)
        assert head.sample_counts is None
        assert head.ranking_correction() is None
    assert "sample_counts.positives" in PartialFC(4, 10).state_dict()


def test_evaluation_mode_counts_nothing() -> None:
    embeddings, weight, labels = random_inputs()
    head = head_with(weight).eval()
    head(embeddings, labels)
    assert head.sample_counts.samples == 0
    head.train()(embeddings, labels)
    assert head.sample_counts.samples == 5
    assert head.sample_counts.positives.sum() == sum(len(slot.unique()) for slot in drawn_at(head, 0, labels).T)


def drawn_at(head: PartialFC, step: int, labels: Tensor) -> Tensor:
    head.step = step
    return head.draw_positives(labels)
