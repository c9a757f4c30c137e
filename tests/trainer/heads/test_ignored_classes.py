"""Ignored classes: against the dense float64 reference, and without any effect on the images that ignore them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads import torch_softmax
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC
from tests.trainer.heads.dense_comparison import ARCFACE, SAMPLINGS, check, device_of, head_with, random_inputs

FILTER = Margin(m2=0.0, m3=0.3, filter_threshold=0.2)
CLASSES = 211

each_mode = pytest.mark.parametrize(
    "mode",
    [
        {"sampling": sampling, "sample_rate": rate, "mask_own_tags": mask}
        for sampling, rate in SAMPLINGS
        for mask in (True, False)
    ],
    ids=lambda mode: f"{mode['sampling']}-{mode['sample_rate']}-{'mask' if mode['mask_own_tags'] else 'no mask'}",
)


def mixed_ignored(labels: Tensor, classes: int, width: int = 9) -> Tensor:
    """Returns ignored classes of every kind: own tags, tags of other images, repeated ids, others, and -1."""
    ignored = torch.randint(-1, classes, (labels.shape[0], width), generator=torch.Generator().manual_seed(8))
    ignored[0] = labels[0, :width]  # own tags, of which some are drawn
    ignored[1] = labels[3, :width]  # positives of another image
    ignored[2] = -1
    ignored[3] = labels[4, 0]  # one id in every column
    ignored[4, ::2], ignored[4, 1::2] = -1, labels[4, : width // 2]
    return ignored


def inputs_with_distinct_labels() -> tuple[Tensor, Tensor, Tensor]:
    """Returns inputs in which no class is a tag twice: on CUDA, two positives of a center are added in any order."""
    embeddings, weight, labels = random_inputs(classes=CLASSES)
    return embeddings, weight, torch.randperm(CLASSES, generator=torch.Generator().manual_seed(6))[:77].view_as(labels)


def step(head: PartialFC, embeddings: Tensor, *classes: Tensor | None) -> dict[str, Tensor]:
    """Sets the head back to step 0, without gradients, and returns the results of one step."""
    head = head.to(device_of(head))
    head.step, head.weight.grad = 0, None
    leaf = embeddings.to(head.weight, copy=True).requires_grad_()
    loss = head(leaf, *classes)
    loss.backward()
    report = head.last_report
    found = {"loss": loss.detach(), "embeddings": leaf.grad, "centers": head.weight.grad.to_dense()}
    found |= {"sample_loss": report.sample_loss, "cosine": report.negative_cosine}
    return {name: value.cpu() for name, value in found.items()}


def assert_identical(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def pure_negatives(head: PartialFC, labels: Tensor, negative_weights: Callable[..., Tensor]) -> Tensor:
    """Returns the sampled classes that are no tag of any image."""
    sampled = negative_weights(head, labels).flatten(0, 1).any(0)
    sampled[labels.flatten()] = False
    found = sampled.nonzero().squeeze(1)
    assert found.shape[0] >= 6
    return found


@pytest.mark.parametrize("margin", [ARCFACE, FILTER], ids=["arcface", "filter"])
@each_mode
def test_matches_the_dense_reference(
    mode: dict[str, Any], margin: Margin, dense: Callable[..., Tensor], implementation: str
) -> None:
    embeddings, weight, labels = random_inputs()
    labels[5] = labels[6]  # two images with the same tags
    head = head_with(weight, implementation=implementation, margin=margin, **mode)
    ignored = mixed_ignored(labels, 101)
    assert dense(head, embeddings, weight, labels, ignored) < dense(head, embeddings, weight, labels) - 0.005
    check(head, embeddings, labels, dense, ignored=ignored)
    if implementation == "torch":  # the interpreter is slow
        head.weight.grad = None
        check(head, embeddings, labels, dense, ignored=ignored)  # the next step has other draws


@each_mode
def test_many_tiles_give_the_same_result(
    mode: dict[str, Any], dense: Callable[..., Tensor], implementation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in test_partial_fc.py: tiles of 4 centers, or chunks of 90; images of several words of the mask."""
    monkeypatch.setattr(torch_softmax, "_CPU_TILE_ELEMENTS", 64)
    embeddings, weight, labels = random_inputs()
    if implementation == "triton":
        from ovocr.trainer.heads import triton_softmax

        monkeypatch.setattr(triton_softmax, "_CHUNK_BYTES", 70 * 4 * 90)
        embeddings, weight, labels = random_inputs(batch=67, dim=70, classes=401)
    head = head_with(weight, implementation=implementation, **mode)
    check(head, embeddings, labels, dense, ignored=mixed_ignored(labels, weight.shape[0]))


@each_mode
def test_center_ignored_by_every_image_has_no_gradient(
    mode: dict[str, Any], negative_weights: Callable[..., Tensor], implementation: str
) -> None:
    embeddings, weight, labels = random_inputs(classes=CLASSES)
    head = head_with(weight, implementation=implementation, **mode)
    rows = pure_negatives(head, labels, negative_weights)[:6]
    ignored = rows.repeat(7, 1)
    assert (step(head, embeddings, labels)["centers"][rows].abs().amax(1) > 0).all()
    gradient = step(head, embeddings, labels, ignored)["centers"]
    assert torch.equal(gradient[rows], torch.zeros_like(gradient[rows]))
    if head.sample_rate < 1.0:
        assert torch.isin(rows, head.weight.grad._indices()[0].cpu()).all()  # the sample is the same


def test_tag_of_some_images_ignored_by_the_others_has_no_gradient(implementation: str) -> None:
    """The mask protects a tag that is not drawn from its own images, and ``ignored`` from all others."""
    embeddings, weight, labels = random_inputs(classes=CLASSES)
    head = head_with(weight, implementation=implementation, sample_rate=1.0)
    rows = labels[~torch.isin(labels, head.draw_positives(labels))].unique()
    own = (labels.unsqueeze(2) == rows).any(1)  # [B, rows]
    assert (step(head, embeddings, labels)["centers"][rows].abs().amax(1) > 0).all()
    gradient = step(head, embeddings, labels, torch.where(own, -1, rows))["centers"]
    assert torch.equal(gradient[rows], torch.zeros_like(gradient[rows]))


@each_mode
def test_centers_and_the_images_that_ignore_them_have_no_effect_on_each_other(
    mode: dict[str, Any], negative_weights: Callable[..., Tensor], implementation: str
) -> None:
    """A center's gradient comes from the other images only, as a negative or a positive of them."""
    embeddings, weight, labels = inputs_with_distinct_labels()
    options = mode | {"implementation": implementation, "margin": Margin(scale=4.0)}  # so that every pair matters
    head = head_with(weight, **options)
    drawn = head.draw_positives(labels)
    rows = torch.cat([pure_negatives(head, labels, negative_weights)[:6], drawn[0, :2], drawn[4, :2]])
    image, others = 2, [0, 1, 3, 4, 5, 6]
    ignored = torch.full((7, rows.shape[0]), -1)
    ignored[image] = rows
    other_embeddings, other_weight = embeddings.clone(), weight.clone()
    other_embeddings[image] = torch.randn(13, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    other_weight[rows] = torch.randn((rows.shape[0], 13), generator=torch.Generator().manual_seed(9)).to(weight)
    other_head = head_with(other_weight, **options)

    for classes, same in (((labels, ignored), True), ((labels,), False)):
        found = step(head, embeddings, *classes)
        other_image = step(head, other_embeddings, *classes)
        equal = [torch.equal(found["centers"][row], other_image["centers"][row]) for row in rows]
        assert equal == [same] * rows.shape[0]
        other_centers = step(other_head, embeddings, *classes)
        for name in ("embeddings", "sample_loss"):
            assert torch.equal(found[name][image], other_centers[name][image]) == same, name
            assert not torch.equal(found[name][others], other_centers[name][others]), name


@each_mode
def test_minus_1_ignores_nothing(mode: dict[str, Any], implementation: str) -> None:
    embeddings, weight, labels = inputs_with_distinct_labels()
    head = head_with(weight, implementation=implementation, **mode)
    wanted = step(head, embeddings, labels)
    for nothing in (None, torch.full((7, 4), -1), torch.empty((7, 0), dtype=torch.int64)):
        assert_identical(step(head, embeddings, labels, nothing), wanted)
    ignored = mixed_ignored(labels, CLASSES)
    wanted = step(head, embeddings, labels, ignored)
    padded = torch.cat([torch.full((7, 2), -1), ignored, torch.full((7, 3), -1)], dim=1)
    assert_identical(step(head, embeddings, labels, padded), wanted)
    assert_identical(step(head, embeddings, labels, torch.cat([ignored, ignored.flip(1)], dim=1)), wanted)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("sampling", ["independent", "shared"])
def test_ignored_classes_that_are_not_sampled_change_nothing(sampling: str, mask: bool, implementation: str) -> None:
    embeddings, weight, labels = inputs_with_distinct_labels()
    options = {"sampling": sampling, "sample_rate": 0.1, "mask_own_tags": mask}
    head = head_with(weight, implementation=implementation, **options)
    unsampled = torch.ones(CLASSES, dtype=torch.bool)
    unsampled[head.draw_sample(head.draw_positives(labels)).rows] = False
    ignored = unsampled.nonzero().squeeze(1).repeat(7, 1)
    assert ignored.shape[1] > 20
    assert_identical(step(head, embeddings, labels, ignored), step(head, embeddings, labels))


@pytest.mark.parametrize(("sampling", "rate"), SAMPLINGS)
def test_drawn_tags_that_are_ignored_stay_positives(sampling: str, rate: float, implementation: str) -> None:
    """Ignoring all stored tags is the mask; with the mask it changes nothing."""
    embeddings, weight, labels = inputs_with_distinct_labels()
    options = {"implementation": implementation, "sampling": sampling, "sample_rate": rate}
    masked, unmasked = (head_with(weight, mask_own_tags=mask, **options) for mask in (True, False))
    wanted = step(masked, embeddings, labels)
    assert_identical(step(masked, embeddings, labels, labels), wanted)
    assert_identical(step(unmasked, embeddings, labels, labels), wanted)
    assert not torch.equal(step(unmasked, embeddings, labels)["loss"], wanted["loss"])


# The kernel replaces the products of skipped pairs by 0; without any negative they may be infinite before.
@pytest.mark.filterwarnings("ignore:overflow encountered in multiply:RuntimeWarning:triton")
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(("sampling", "rate"), SAMPLINGS)
def test_loss_is_0_if_all_classes_are_ignored(sampling: str, rate: float, mask: bool, implementation: str) -> None:
    embeddings, weight, labels = random_inputs()
    options = {"sampling": sampling, "sample_rate": rate, "mask_own_tags": mask}
    found = step(
        head_with(weight, implementation=implementation, **options), embeddings, labels, torch.arange(101).repeat(7, 1)
    )
    for name, value in found.items():
        assert torch.equal(value, torch.zeros_like(value)) or name == "cosine", name


@each_mode
def test_report_leaves_out_ignored_pairs(
    mode: dict[str, Any], negative_weights: Callable[..., Tensor], implementation: str
) -> None:
    embeddings, weight, labels = random_inputs()
    ignored = mixed_ignored(labels, 101)
    head = head_with(weight, implementation=implementation, **mode)
    counted = negative_weights(head, labels, ignored).bool().any(1)
    counted.scatter_(1, head.draw_positives(labels), False)  # drawn tags do not count in the report
    unit = torch.nn.functional.normalize
    cos = unit(embeddings, dim=1) @ unit(weight, dim=1).T
    found = step(head, embeddings, labels, ignored)
    assert found["cosine"].item() == pytest.approx(cos[counted].mean().item(), rel=1e-4, abs=1e-6)

    head.step = 0
    labels, ignored = (classes.to(head.weight.device) for classes in (labels, ignored))
    inputs = head._loss_inputs(labels, head.draw_positives(labels), ignored, [7], torch.float32)
    softmax = inputs.softmax(unit(embeddings, dim=1).to(head.weight), head.weight.detach(), inputs.sample, head.margin)
    assert softmax.sums(inputs.skipped_BX).pairs.item() == counted.sum().item()


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("sampling", ["independent", "shared"])
def test_passes_of_a_step_ignore_their_own_classes(
    sampling: str, mask: bool, dense: Callable[..., Tensor], negative_weights: Callable[..., Tensor]
) -> None:
    passes = [random_inputs(classes=CLASSES, seed=seed) for seed in range(3)]
    weight = passes[0][1]
    head = head_with(weight, sampling=sampling, sample_rate=0.1, mask_own_tags=mask, passes_per_step=3)
    all_labels = torch.cat([labels for _, _, labels in passes])
    row = int(pure_negatives(head, all_labels, negative_weights)[0])
    wanted = weight.clone().requires_grad_()
    for number, (embeddings, _, labels) in enumerate(passes):
        ignored = mixed_ignored(labels, CLASSES, width=9 + number)
        ignored[:, -1] = row
        dense(head, embeddings, wanted, labels, ignored).backward()
        head(embeddings, labels, ignored).backward()
    gradient = head.weight.grad.to_dense()
    torch.testing.assert_close(gradient, wanted.grad, rtol=1e-9, atol=1e-12)
    assert torch.equal(gradient[row], torch.zeros(13, dtype=torch.float64))


def test_empty_batch_with_ignored_classes() -> None:
    head = head_with(torch.randn(6, 4))
    loss = head(torch.empty(0, 4), torch.empty((0, 5), dtype=torch.int64), torch.empty((0, 3), dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert head.weight.grad.to_dense().abs().max() == 0.0


@pytest.mark.parametrize(
    ("ignored", "message"),
    [
        (torch.zeros(2, 3), r"ignored must be int64 \[2, ignored classes\], not torch.float32 \[2, 3\]"),
        (torch.zeros(2, 3, dtype=torch.int32), "not torch.int32"),
        (torch.zeros(2, dtype=torch.int64), r"\[2, ignored classes\], not torch.int64 \[2\]"),
        (torch.zeros(3, 3, dtype=torch.int64), r"not torch.int64 \[3, 3\]"),
        (
            torch.tensor([[-1, 0], [100, 101]]),
            "ignored class 101 of sample 1, column 1 is not a class: 0 to 100, or -1 for none",
        ),
        (torch.tensor([[-1, 0], [-2, 0]]), "ignored class -2 of sample 1, column 0"),
    ],
)
def test_invalid_ignored_classes_raise(ignored: Tensor, message: str) -> None:
    embeddings, weight, labels = random_inputs()
    with pytest.raises(ValueError, match=message):
        head_with(weight)(embeddings[:2], labels[:2], ignored)
