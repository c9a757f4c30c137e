"""The objectives "soft" and "two_sided", and weighted negatives, against the dense float64 reference."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads import loss as loss_module
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC
from tests.trainer.heads.dense_comparison import COSFACE, SAMPLINGS, check, head_with, random_inputs

FILTER = Margin(m2=0.0, m3=0.3, filter_threshold=0.2)
TAG_WEIGHTS = torch.linspace(0.2, 4.0, 101)

OBJECTIVES: dict[str, dict[str, Any]] = {
    "slots importance": {"objective": "slots", "negative_weight": "importance"},
    "soft": {"objective": "soft"},
    "soft importance": {"objective": "soft", "negative_weight": "importance"},
    "soft weighted": {"objective": "soft", "negative_weight": "importance", "tag_weights": TAG_WEIGHTS},
    "soft all": {"objective": "soft", "labels_per_sample": "all", "tag_weights": TAG_WEIGHTS},
    "two_sided": {"objective": "two_sided"},
    "two_sided importance": {"objective": "two_sided", "negative_weight": "importance"},
    "two_sided all": {"objective": "two_sided", "labels_per_sample": "all", "negative_weight": "importance"},
}
each_objective = pytest.mark.parametrize("options", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def inputs_with_repetitions() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns embeddings, centers, labels and ignored classes: repeated tags, equal images, ignored positives."""
    embeddings, weight, labels = random_inputs()
    labels[0, :4] = labels[0, 4]  # a tag repeated in an image's slots
    labels[1] = labels[2]  # two images with the same tags
    labels[3] = labels[3, 0]  # a single tag
    ignored = torch.randint(-1, 101, (7, 9), generator=torch.Generator().manual_seed(8))
    ignored[4] = labels[4, :9]  # some of them drawn
    ignored[5] = -1
    ignored[6] = labels[2, :9]  # positives of other images
    return embeddings, weight, labels, ignored


@pytest.mark.parametrize("mask", [True, False], ids=["mask", "no mask"])
@pytest.mark.parametrize(("sampling", "rate"), SAMPLINGS)
@each_objective
def test_matches_the_dense_reference(
    options: dict[str, Any], sampling: str, rate: float, mask: bool, dense: Callable[..., Tensor], implementation: str
) -> None:
    embeddings, weight, labels, ignored = inputs_with_repetitions()
    modes = {"sampling": sampling, "sample_rate": rate, "mask_own_tags": mask}
    head = head_with(weight, implementation=implementation, **modes, **options)
    check(head, embeddings, labels, dense, ignored=ignored)
    if implementation == "torch":  # the interpreter is slow
        head.weight.grad = None
        check(head, embeddings, labels, dense)  # the next step has other draws; nothing is ignored


@pytest.mark.parametrize(
    "margin",
    [COSFACE, FILTER, Margin(m1=1.1, m2=0.2, m3=0.1, scale=30.0), Margin(gradient="straight_through"), Margin(100.0)],
    ids=["cosface", "filter", "combined", "straight_through", "scale 100"],
)
@each_objective
def test_margins(options: dict[str, Any], margin: Margin, dense: Callable[..., Tensor], implementation: str) -> None:
    embeddings, weight, labels, ignored = inputs_with_repetitions()
    head = head_with(weight, implementation=implementation, margin=margin, mask_own_tags=False, **options)
    check(head, embeddings, labels, dense, ignored=ignored)


@each_objective
def test_positives_in_groups_of_columns(
    options: dict[str, Any], dense: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "_POSITIVE_ELEMENTS", 7 * 13 * 2)
    embeddings, weight, labels, ignored = inputs_with_repetitions()
    check(head_with(weight, **options), embeddings, labels, dense, ignored=ignored)


@each_objective
def test_float32_and_bfloat16(options: dict[str, Any], dense: Callable[..., Tensor], implementation: str) -> None:
    embeddings, weight, labels = random_inputs(batch=9, dim=32, classes=101)
    check(head_with(weight.float(), implementation=implementation, **options), embeddings.float(), labels, dense)
    tolerance = 5e-3 if implementation == "torch" else 4e-2  # as in test_partial_fc.py
    head = head_with(weight.float(), implementation=implementation, **options)
    check(head, embeddings.bfloat16(), labels, dense, tolerance)


@pytest.mark.parametrize("scale", [64.0, 100.0])
@each_objective
def test_images_without_negatives_stay_finite(
    options: dict[str, Any], scale: float, dense: Callable[..., Tensor], implementation: str
) -> None:
    """Positives opposite to the embedding, and hardly a negative: 1 / Z would overflow."""
    embeddings, weight, labels = random_inputs(batch=3, dim=4, classes=101, stored=5)
    for image in range(3):
        weight[labels[image]] = 0.1 * weight[labels[image]] - embeddings[image]
    head = head_with(weight, implementation=implementation, sample_rate=0.01, margin=Margin(scale), **options)
    ignored = torch.arange(101).repeat(3, 1)  # not a single negative
    for given in (None, ignored):
        head.step, head.weight.grad = 0, None
        check(head, embeddings, labels, dense, 1e-10 if implementation == "torch" else 1e-4, ignored=given)


@pytest.mark.parametrize("objective", ["slots", "soft", "two_sided"])
def test_small_losses_keep_their_digits(objective: str, dense: Callable[..., Tensor]) -> None:
    """If the only tag of each image is learnt, the loss is tiny."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.functional.normalize(torch.randn(200, 64, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.randint(0, 200, (8, 1), generator=generator).expand(8, 3)
    embeddings = weight[labels[:, 0]] + 0.02 * torch.randn(8, 64, generator=generator, dtype=torch.float64)
    weight -= 0.5 * embeddings.mean(0)  # negatives with a cosine below zero, for two_sided
    head = head_with(weight.float(), labels_per_sample=3, sample_rate=1.0, margin=COSFACE, objective=objective)
    wanted = dense(head, embeddings, weight.float().double(), labels)
    loss = head(embeddings.float(), labels)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-3)
    if objective != "two_sided":  # its negatives need not be far from the embedding for a cosine below zero
        assert wanted.item() < 1e-3


def test_one_positive_makes_a_softmax_of_slots(implementation: str) -> None:
    embeddings, weight, labels = random_inputs()
    results = []
    for objective in ("slots", "soft"):
        head = head_with(weight, implementation=implementation, labels_per_sample=1, objective=objective)
        leaf = embeddings.to(head.weight, copy=True).requires_grad_()
        loss = head(leaf, labels)
        loss.backward()
        results.append((loss.detach(), leaf.grad, head.weight.grad.to_dense()))
    for slots, soft in zip(*results, strict=True):
        torch.testing.assert_close(soft, slots)


@pytest.mark.parametrize("name", ["soft all", "two_sided all"])
def test_all_tags_do_not_depend_on_order_and_repetition(name: str) -> None:
    options = OBJECTIVES[name]
    embeddings, weight, labels = random_inputs(stored=4)
    losses = [
        head_with(weight, **options)(embeddings, given).item()
        for given in (labels, torch.cat([labels.flip(1), labels], dim=1))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("objective", ["soft", "two_sided"])
def test_objectives_with_one_sum_draw_once(objective: str) -> None:
    embeddings, weight, labels = random_inputs()
    heads = [head_with(weight, objective=objective, sampling=sampling) for sampling in ("independent", "shared")]
    assert heads[0](embeddings, labels).item() == heads[1](embeddings, labels).item()
    assert heads[0].last_report.sample_size == heads[1].last_report.sample_size < 60


@pytest.mark.parametrize("objective", ["slots", "soft", "two_sided"])
def test_exact_sums_have_no_weights(objective: str) -> None:
    embeddings, weight, labels = random_inputs()
    losses = [
        head_with(weight, objective=objective, sample_rate=1.0, negative_weight=negative_weight)(embeddings, labels)
        for negative_weight in ("none", "importance")
    ]
    assert losses[0].item() == losses[1].item()


def test_tag_weights_move_the_target() -> None:
    """A tag with nearly all of the weight is the only target."""
    embeddings, weight, labels = random_inputs()
    labels[:, 0] = torch.arange(7)
    heavy = torch.full((101,), 1e-9)
    heavy[:7] = 1.0
    head = head_with(weight, objective="soft", labels_per_sample="all", tag_weights=heavy, sample_rate=1.0)
    plain = head_with(weight, objective="slots", labels_per_sample=1, mask_own_tags=False, sample_rate=1.0)
    loss = head(embeddings, labels)
    first = plain(embeddings, labels[:, :1])
    assert loss.item() == pytest.approx(first.item(), rel=0.2)
    assert loss.item() != pytest.approx(
        head_with(weight, objective="soft", labels_per_sample="all", sample_rate=1.0)(embeddings, labels).item(),
        rel=0.02,
    )


@pytest.mark.parametrize("objective", ["soft", "two_sided"])
def test_report_has_the_mean_cosine_of_distinct_positives(objective: str) -> None:
    embeddings, weight, labels, _ = inputs_with_repetitions()
    head = head_with(weight, objective=objective, labels_per_sample="all", sample_rate=1.0)
    loss = head(embeddings, labels)
    unit = torch.nn.functional.normalize
    own = torch.zeros((7, 101), dtype=torch.bool).scatter_(1, labels, True)
    cos = unit(embeddings, dim=1) @ unit(weight, dim=1).T
    assert head.last_report.positive_cosine.shape == (1,)
    assert head.last_report.positive_cosine.item() == pytest.approx(cos[own].mean().item())
    assert head.last_report.negative_cosine.item() == pytest.approx(cos[~own].mean().item())
    assert head.last_report.sample_loss.mean().item() == pytest.approx(loss.item())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "hard"}, "objective must be 'slots', 'soft' or 'two_sided', not 'hard'"),
        ({"negative_weight": "idf"}, "negative_weight must be 'none' or 'importance', not 'idf'"),
        ({"labels_per_sample": "all"}, "labels_per_sample='all' needs objective 'soft' or 'two_sided'"),
        ({"labels_per_sample": "some", "objective": "soft"}, "at least 1, or 'all', not 'some'"),
        ({"tag_weights": torch.ones(10)}, "tag_weights needs objective 'soft', not 'slots'"),
        ({"tag_weights": torch.ones(9), "objective": "soft"}, r"tag_weights must be a tensor \[10\], .*, not \[9\]"),
        ({"tag_weights": "idf", "objective": "soft"}, r"tag_weights must be a tensor \[10\], .*, not a str"),
        ({"tag_weights": torch.logspace(-60, 0, 10, dtype=torch.float64), "objective": "soft"}, "a factor of 1e38"),
        ({"margin": "arcface"}, "margin must be a Margin, not 'arcface'"),
        ({"labels_per_sample": True}, "labels_per_sample must be at least 1, or 'all', not True"),
        ({"tag_weights": torch.zeros(10), "objective": "soft"}, "tag_weights must be finite numbers greater than 0"),
    ],
)
def test_invalid_options_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PartialFC(4, 10, **options)


def test_all_tags_need_one() -> None:
    head = PartialFC(4, 10, objective="soft", labels_per_sample="all")
    with pytest.raises(ValueError, match="at least 1 stored tag per image"):
        head(torch.zeros(2, 4), torch.zeros((2, 0), dtype=torch.int64))


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e300])
def test_only_ratios_of_tag_weights_count(factor: float) -> None:
    embeddings, weight, labels = random_inputs()
    losses = [
        head_with(weight, objective="soft", tag_weights=TAG_WEIGHTS.double() * by)(embeddings, labels).item()
        for by in (1.0, factor)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_device_of_tag_weights_follows_the_head() -> None:
    head = PartialFC(4, 10, objective="soft", tag_weights=torch.ones(10))
    assert head.double().tag_weights.dtype == torch.float64
    assert "tag_weights" not in head.state_dict()
