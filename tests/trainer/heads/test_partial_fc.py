"""PartialFC against the dense float64 reference: loss, gradient of the embeddings, gradient of the centers.

Tests that depend on the implementation run with each: plain torch in float64, and the Triton kernels in float32, on
CUDA if available, else through Triton's interpreter (set up by conftest.py).
"""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads import torch_softmax
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC, initial_centers
from tests.trainer.heads.dense_comparison import ARCFACE, COSFACE, SAMPLINGS, check, head_with, random_inputs


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(("sampling", "rate"), SAMPLINGS)
@pytest.mark.parametrize(
    "margin",
    [
        ARCFACE,
        COSFACE,
        Margin(m1=1.1, m2=0.2, m3=0.1, scale=30.0),
        Margin(m2=0.0, m3=0.3, filter_threshold=0.2),
        Margin(gradient="straight_through"),
    ],
    ids=["arcface", "cosface", "combined", "filter", "straight_through"],
)
def test_matches_the_dense_reference(
    margin: Margin, sampling: str, rate: float, mask: bool, dense: Callable[..., Tensor], implementation: str
) -> None:
    embeddings, weight, labels = random_inputs()
    labels[0, :4] = labels[0, 4]  # a tag repeated in an image's slots
    labels[1] = labels[2]  # two images with the same tags
    options = {"sampling": sampling, "sample_rate": rate, "mask_own_tags": mask, "margin": margin}
    head = head_with(weight, implementation=implementation, **options)
    check(head, embeddings, labels, dense)
    if implementation == "torch":  # the interpreter is slow
        head.weight.grad = None
        check(head, embeddings, labels, dense)  # the next step has other draws


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(("sampling", "rate"), SAMPLINGS)
def test_many_tiles_give_the_same_result(
    sampling: str,
    rate: float,
    mask: bool,
    dense: Callable[..., Tensor],
    implementation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many tiles or chunks of centers, the last one shorter; more images and channels than a kernel's block."""
    monkeypatch.setattr(torch_softmax, "_CPU_TILE_ELEMENTS", 64)  # 4 centers per tile
    embeddings, weight, labels = random_inputs()
    if implementation == "triton":
        from ovocr.trainer.heads import triton_softmax

        monkeypatch.setattr(triton_softmax, "_CHUNK_BYTES", 70 * 4 * 90)  # 90 centers per chunk, two blocks
        embeddings, weight, labels = random_inputs(batch=67, dim=70, classes=401)
    head = head_with(weight, implementation=implementation, sampling=sampling, sample_rate=rate, mask_own_tags=mask)
    check(head, embeddings, labels, dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sampling", ["independent", "shared"])
def test_embeddings_of_other_dtypes(
    sampling: str, dtype: torch.dtype, dense: Callable[..., Tensor], implementation: str
) -> None:
    embeddings, weight, labels = random_inputs(batch=9, dim=32, classes=211)
    # Plain torch computes in float32 with bf16 embeddings and rounds only their gradient. The kernels' products are
    # bf16: unit rows of 8 bits, at a scale of 64.
    tolerance = 2e-5 if dtype == torch.float32 else 5e-3 if implementation == "torch" else 4e-2
    head = head_with(weight.float(), implementation=implementation, sampling=sampling)
    check(head, embeddings.to(dtype), labels, dense, tolerance)


def test_bf16_error_is_at_most_the_error_of_autocast(dense: Callable[..., Tensor]) -> None:
    """Compares the errors of the kernels and of the plain loss under torch's bfloat16 autocast."""
    pytest.importorskip("triton", reason="Triton is not installed")
    embeddings, weight, labels = random_inputs(batch=16, dim=64, classes=307)
    embeddings = embeddings.bfloat16()
    head = head_with(weight, implementation="triton", sample_rate=1.0, mask_own_tags=False, margin=COSFACE)
    drawn = head.draw_positives(labels)
    leaves = [embeddings.double().requires_grad_(), embeddings.float().requires_grad_()]
    wanted = dense(head, leaves[0], weight, labels)
    unit = torch.nn.functional.normalize
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cos = torch.nn.functional.linear(unit(leaves[1], dim=1), unit(weight.float(), dim=1)).float()
    slots = [
        COSFACE.scale * (cos - COSFACE.m3 * torch.nn.functional.one_hot(drawn[:, slot], weight.shape[0]))
        for slot in range(drawn.shape[1])
    ]
    plain = torch.stack([torch.nn.functional.cross_entropy(x, drawn[:, k]) for k, x in enumerate(slots)]).mean()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    own_leaf = embeddings.to(device).requires_grad_()
    loss = head.to(device)(own_leaf, labels)
    for value in (wanted, plain, loss):
        value.backward()
    truth = leaves[0].grad
    assert abs(loss.item() - wanted.item()) <= 2 * abs(plain.item() - wanted.item()) + 1e-3 * wanted.item()
    error = (own_leaf.grad.cpu().double() - truth).norm()
    assert error <= 1.5 * (leaves[1].grad.double() - truth).norm()


@pytest.mark.parametrize(("sampling", "rate"), SAMPLINGS)
@pytest.mark.parametrize("margin", [ARCFACE, COSFACE], ids=["arcface", "cosface"])
def test_float32_is_exact_when_own_tags_are_learnt(
    margin: Margin, sampling: str, rate: float, dense: Callable[..., Tensor], implementation: str
) -> None:
    """Own tags with cosines of 0.9 and more: masked ones must not leave cancellation errors."""
    _, weight, labels = random_inputs(stored=6)
    labels = torch.arange(42).view(7, 6)
    embeddings = torch.randn(7, 13, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for image in range(7):
        noise = 0.05 * torch.randn(6, 13, generator=torch.Generator().manual_seed(image), dtype=torch.float64)
        weight[labels[image]] = embeddings[image] / embeddings[image].norm() + noise
    cosines = torch.nn.functional.cosine_similarity(embeddings[:, None], weight[labels], dim=2)
    assert cosines.min() > 0.9
    head = head_with(weight.float(), implementation=implementation, sampling=sampling, sample_rate=rate, margin=margin)
    check(head, embeddings.float(), labels, dense, 1e-4)


def test_small_losses_keep_their_digits(dense: Callable[..., Tensor]) -> None:
    """If tags are learnt the loss is tiny; its error must not exceed the error of float32 cross_entropy."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.functional.normalize(torch.randn(200, 64, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.randint(0, 200, (8, 1), generator=generator)
    embeddings = weight[labels[:, 0]] + 0.02 * torch.randn(8, 64, generator=generator, dtype=torch.float64)
    head = head_with(weight.float(), labels_per_sample=1, sample_rate=1.0, margin=COSFACE)
    wanted_leaf = embeddings.clone().requires_grad_()
    wanted = dense(head, wanted_leaf, weight, labels)
    wanted.backward()
    assert wanted.item() < 1e-3

    leaf = embeddings.float().requires_grad_()
    cos = torch.nn.functional.normalize(leaf, dim=1) @ torch.nn.functional.normalize(weight.float(), dim=1).T
    logits = COSFACE.scale * (cos - COSFACE.m3 * torch.nn.functional.one_hot(labels[:, 0], 200))
    plain = torch.nn.functional.cross_entropy(logits, labels[:, 0])
    plain.backward()

    own_leaf = embeddings.float().requires_grad_()
    loss = head(own_leaf, labels)
    loss.backward()
    assert abs(loss.item() - wanted.item()) <= abs(plain.item() - wanted.item()) + 1e-12
    error = (own_leaf.grad - wanted_leaf.grad).norm()
    assert error <= (leaf.grad - wanted_leaf.grad).norm() + 1e-12


def test_a_callers_autocast_changes_nothing() -> None:
    embeddings, weight, labels = random_inputs()
    results = []
    for enabled in (False, True):
        head, leaf = head_with(weight.float()), embeddings.float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = head(leaf, labels)
        loss.backward()
        results.append((loss.detach(), leaf.grad, head.weight.grad.to_dense()))
    for plain, inside in zip(*results, strict=True):
        assert torch.equal(plain, inside)


@pytest.mark.parametrize("cached_centers", [0, 50])
@pytest.mark.parametrize("margin", [ARCFACE, Margin(m2=0.0, m3=0.3, filter_threshold=0.2)], ids=["arcface", "filter"])
def test_uncached_cosines_are_recomputed(
    margin: Margin, cached_centers: int, dense: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_softmax, "_CPU_TILE_ELEMENTS", 13 * 9)  # 9 centers per tile
    monkeypatch.setattr(torch_softmax, "_CACHE_BYTES", 8 * 7 * cached_centers)
    embeddings, weight, labels = random_inputs()
    check(head_with(weight, sample_rate=1.0, margin=margin), embeddings, labels, dense)


def test_retained_graph_gives_the_same_gradients_again() -> None:
    embeddings, weight, labels = random_inputs()
    head, leaf = head_with(weight), embeddings.clone().requires_grad_()
    loss = head(leaf, labels)
    loss.backward(retain_graph=True)
    first = leaf.grad.clone(), head.weight.grad.to_dense()
    leaf.grad = head.weight.grad = None
    loss.backward()
    assert torch.equal(leaf.grad, first[0])
    assert torch.equal(head.weight.grad.to_dense(), first[1])


def test_gradients_of_one_step_outlive_the_next() -> None:
    """Gradient memory is reused, but not while it is referenced."""
    embeddings, weight, labels = random_inputs()
    head = head_with(weight)
    head(embeddings, labels).backward()
    held, copy = head.weight.grad, head.weight.grad.to_dense().clone()
    head.weight.grad = None
    head(embeddings, labels).backward()
    assert torch.equal(held.to_dense(), copy)
    assert not torch.equal(head.weight.grad.to_dense(), copy)


@pytest.mark.parametrize("sampling", ["independent", "shared"])
def test_more_positives_than_sampled_negatives(
    sampling: str, dense: Callable[..., Tensor], implementation: str
) -> None:
    embeddings, weight, labels = random_inputs(batch=12, classes=97)
    head = head_with(weight, implementation=implementation, sampling=sampling, sample_rate=0.03)
    check(head, embeddings, labels, dense)
    assert head.last_report.sample_size > 3


@pytest.mark.parametrize("scale", [1.0, 80.0, 100.0])
def test_other_scales(scale: float, dense: Callable[..., Tensor], implementation: str) -> None:
    embeddings, weight, labels = random_inputs()
    head = head_with(weight.float(), implementation=implementation, margin=Margin(scale=scale))
    check(head, embeddings.float(), labels, dense, 1e-4)


@pytest.mark.parametrize("scale", [64.0, 100.0])
@pytest.mark.parametrize("mask", [True, False])
def test_slots_without_negatives_stay_finite(
    scale: float, mask: bool, dense: Callable[..., Tensor], implementation: str
) -> None:
    """A slot whose sample is only its own positive, opposite to the embedding: 1 / Z would overflow."""
    embeddings, weight, labels = random_inputs(batch=3, dim=4, classes=40, stored=5)
    for image in range(3):
        weight[labels[image]] = 0.1 * weight[labels[image]] - embeddings[image]
    head = head_with(weight, implementation=implementation, sample_rate=0.01, mask_own_tags=mask, margin=Margin(scale))
    check(head, embeddings, labels, dense, 1e-10 if implementation == "torch" else 1e-4)


@pytest.mark.parametrize("length", [1e-30, 1e-13, 1e19, 1e30])
def test_embeddings_of_any_length(length: float) -> None:
    embeddings, weight, labels = random_inputs()
    leaf = (embeddings.float() * length).requires_grad_()
    loss = head_with(weight.float())(leaf, labels)
    loss.backward()
    assert loss.item() == pytest.approx(head_with(weight.float())(embeddings.float(), labels).item(), rel=1e-5)
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.abs().max() > 0


def test_empty_batch_has_loss_0() -> None:
    head = head_with(torch.randn(6, 4))
    loss = head(torch.empty(0, 4, requires_grad=True), torch.empty((0, 5), dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert head.weight.grad.to_dense().abs().max() == 0.0


def test_weight_changed_before_backward_raises() -> None:
    embeddings, weight, labels = random_inputs()
    head = head_with(weight)
    loss = head(embeddings, labels)
    with torch.no_grad():
        head.weight += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_second_backward_and_second_derivative_raise() -> None:
    embeddings, weight, labels = random_inputs()
    head, leaf = head_with(weight), embeddings.clone().requires_grad_()
    loss = head(leaf, labels)
    loss.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(head(leaf, labels), leaf, create_graph=True)


def test_copy_is_independent() -> None:
    embeddings, weight, labels = random_inputs()
    head = head_with(weight)
    head(embeddings, labels).backward()
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert other(embeddings, labels).item() == head_with_step(weight, 1)(embeddings, labels).item()
        assert other.weight.data_ptr() != head.weight.data_ptr()
    assert len(pickle.dumps(head)) < 3 * weight.numel() * 8  # weight and gradient, no scratch memory


def head_with_step(weight: Tensor, step: int) -> PartialFC:
    head = head_with(weight)
    head.step = step
    return head


def test_computed_weight_works() -> None:
    embeddings, weight, labels = random_inputs()
    head, factor = head_with(weight), torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = torch.func.functional_call(head, {"weight": weight * factor}, (embeddings, labels))
    loss.backward()
    assert loss.item() == head_with(weight)(embeddings, labels).item()
    assert factor.grad.abs() < 1e-10  # the loss does not depend on a center's length


def test_loss_is_0_if_all_classes_are_own_tags() -> None:
    """With the mask no negative is left, so the loss is exactly 0."""
    weight, labels = torch.randn(6, 4), torch.arange(6).unsqueeze(0)
    head = head_with(weight, labels_per_sample=3, sample_rate=1.0)
    leaf = torch.randn(1, 4, requires_grad=True)
    loss = head(leaf, labels)
    loss.backward()
    assert loss.item() == 0.0
    assert leaf.grad.abs().max() == 0.0


@pytest.mark.parametrize("negative_weight", ["none", "importance"])
@pytest.mark.parametrize(("objective", "sampling"), [("slots", "shared"), ("slots", "independent"), ("soft", "shared")])
def test_sample_contains_positives_and_drawn_negatives(
    objective: str, sampling: str, negative_weight: str, sample_weights: Callable[..., Tensor]
) -> None:
    _, weight, labels = random_inputs()
    head = head_with(weight, objective=objective, sampling=sampling, negative_weight=negative_weight, sample_rate=0.2)
    positives = head.draw_positives(labels)
    sample, wanted = head.draw_sample(positives), sample_weights(head, positives)
    assert torch.equal(sample.rows, wanted.any(0).nonzero().squeeze(1))
    if sample.weights is None:
        assert (wanted[:, sample.rows] == 1).all()
    else:
        assert torch.equal(sample.weights.double(), wanted[:, sample.rows].T)
    if sampling == "independent":
        pairs = head.center_sampler.pair_weights(positives, head.negatives_step)
        for slot in range(5):
            assert torch.equal(pairs[:, :, slot].double(), wanted[slot][positives])


def test_report_holds_cosines_and_losses() -> None:
    embeddings, weight, labels = random_inputs()
    head = head_with(weight, sample_rate=1.0)
    drawn = head.draw_positives(labels)
    loss = head(embeddings, labels)
    unit = torch.nn.functional.normalize
    cos = unit(embeddings, dim=1) @ unit(weight, dim=1).T
    own = torch.zeros_like(cos, dtype=torch.bool).scatter_(1, labels, True)
    assert torch.allclose(head.last_report.positive_cosine, cos.gather(1, drawn).mean(0))
    assert head.last_report.negative_cosine.item() == pytest.approx(cos[~own].mean().item())
    assert head.last_report.sample_loss.mean().item() == pytest.approx(loss.item())
    assert head.last_report.sample_size == 101


def test_draws_resume_from_a_state_dict() -> None:
    embeddings, weight, labels = random_inputs()
    first, second = head_with(weight), head_with(weight)
    first(embeddings, labels)
    state = first.state_dict()
    second.load_state_dict(state)
    assert second(embeddings, labels).item() == first(embeddings, labels).item()
    assert head_with(weight)(embeddings, labels).item() != first(embeddings, labels).item()
    first.eval()
    assert first(embeddings, labels).item() == first(embeddings, labels).item()


def test_initial_centers_do_not_depend_on_the_split() -> None:
    whole = initial_centers(0, 9000, 3, seed=5)
    assert whole.std().item() == pytest.approx(0.01, rel=0.03)
    assert torch.equal(torch.cat([initial_centers(0, 4097, 3, 5), initial_centers(4097, 9000, 3, 5)]), whole)
    for seed in (2**32, 2**62):
        assert not torch.equal(initial_centers(0, 4, 3, seed), initial_centers(0, 4, 3, 0))


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2, 8, dtype=torch.int64), r"embeddings must be \[batch, 13\], not \[2, 4\]"),
        (torch.zeros(2, 13), torch.zeros(3, 8, dtype=torch.int64), r"labels must be int64 \[2, stored tags\]"),
        (torch.zeros(2, 13), torch.zeros(2, 8), "not torch.float32"),
        (torch.zeros(2, 13).int(), torch.zeros(2, 8, dtype=torch.int64), "floating-point numbers, not torch.int32"),
        (torch.zeros(2, 13), torch.zeros(2, 4, dtype=torch.int64), "cannot draw 5 of 4 stored tags"),
        (torch.zeros(1, 13), torch.tensor([[0, 1, 2, 3, 101]]), "label 101 of sample 0, slot 4 is not a class: 0 to 1"),
        (torch.zeros(1, 13), torch.tensor([[0, 1, -2, 3, 4]]), "label -2 of sample 0, slot 2"),
        (torch.zeros(1, 13), torch.tensor([[0, 1, 2, -1, 4]]), "label -1 of sample 0, slot 3"),
    ],
)
def test_invalid_inputs_raise(embeddings: Tensor, labels: Tensor, message: str) -> None:
    _, weight, _ = random_inputs()
    with pytest.raises(ValueError, match=message):
        head_with(weight.float())(embeddings, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0.0}, "sample_rate must be more than 0"),
        ({"sample_rate": 1.5}, "at most 1, not 1.5"),
        ({"sampling": "none"}, "sampling must be"),
        ({"labels_per_sample": 0}, "must be at least 1"),
        ({"implementation": "fast"}, "implementation must be"),
        ({"passes_per_step": 0}, "passes_per_step must be at least 1"),
    ],
)
def test_invalid_options_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PartialFC(4, 10, **options)
