"""Samples of centers: weights that make sums unbiased, on any number of ranks, and probabilities of inclusion."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads.center_sampler import CenterSampler
from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.heads.sampling import NegativeSampler
from ovocr.trainer.ranks.distributed import row_range

CLASSES, DRAWS = 103, 1500
POSITIVES = torch.tensor([[0, 5, 5], [17, 102, 40], [0, 41, 17], [5, 60, 61]])
MODES = [(3, 0.1), (3, 0.3), (3, 0.75), (1, 0.1), (1, 0.3), (1, 0.75), (1, 0.01)]


def sampler_with(
    samples: int, rate: float, negative_weight: str = "importance", classes: int = CLASSES
) -> CenterSampler:
    return CenterSampler(
        first_class=0,
        last_class=classes,
        negatives=NegativeSampler(classes, rate),
        samples=samples,
        sample_rate=rate,
        negative_weight=negative_weight,
        seed=7,
    )


def dense_weights(sample: SampledCenters, rows: int, samples: int) -> Tensor:
    """Returns the weight of every row in every sample, float64 [rows, samples]."""
    weights = torch.zeros((rows, samples), dtype=torch.float64)
    weights[sample.rows] = 1.0 if sample.weights is None else sample.weights.double()
    return weights


def mean_weights(sampler: CenterSampler) -> tuple[Tensor, Tensor]:
    """Returns the mean of every class's weight over many draws, and the share of the draws with it, [C, samples]."""
    total = torch.zeros((2, CLASSES, sampler.samples), dtype=torch.float64)
    for step in range(DRAWS):
        weights = dense_weights(sampler.draw(POSITIVES, step), CLASSES, sampler.samples)
        total += torch.stack([weights, weights > 0])
    return total[0] / DRAWS, total[1] / DRAWS


@pytest.mark.parametrize(("samples", "rate"), MODES)
def test_mean_weight_of_every_class_is_1(samples: int, rate: float) -> None:
    """So the weighted sum of any function of the class is an unbiased estimate of its sum over all classes."""
    sampler = sampler_with(samples, rate)
    sizes = sampler.negatives.block_sizes(torch.arange(CLASSES)).double().unsqueeze(1)
    means, plain = mean_weights(sampler)
    deviations = (means - 1) / ((sizes - 1).clamp_min(1e-12) / DRAWS).sqrt()
    drawn = sizes.squeeze(1) > 1
    assert drawn.any()
    assert deviations[drawn].abs().max() < 5
    assert abs(deviations[drawn].sum() / deviations[drawn].numel() ** 0.5) < 5
    assert (plain - 1).mean() < -0.2 * (1 - rate)


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("samples", [1, 3])
def test_ranks_draw_parts_of_the_same_sample(samples: int, ranks: int) -> None:
    whole = sampler_with(samples, 0.3)
    for step in range(20):
        parts = []
        for rank in range(ranks):
            first, last = row_range(CLASSES, rank, ranks)
            own = replace(whole, first_class=first, last_class=last)
            parts.append(dense_weights(own.draw(POSITIVES, step), last - first, samples))
        assert torch.equal(torch.cat(parts), dense_weights(whole.draw(POSITIVES, step), CLASSES, samples))


def test_positives_have_weight_1_in_their_own_samples() -> None:
    for step in range(50):
        weights = dense_weights(sampler_with(3, 0.1).draw(POSITIVES, step), CLASSES, 3)
        for sample in range(3):
            assert (weights[POSITIVES[:, sample], sample] == 1).all()
        together = dense_weights(sampler_with(1, 0.1).draw(POSITIVES, step), CLASSES, 1)
        assert (together[POSITIVES.flatten()] == 1).all()


def test_exact_sample_has_no_weights() -> None:
    sample = sampler_with(3, 1.0).draw(POSITIVES, 0)
    assert sample.rows is None
    assert sample.weights is None
    assert sample.size == CLASSES


def test_no_positive_adds_no_class() -> None:
    """Fillers of -1 must not add the last class."""
    sampler = sampler_with(1, 0.1)
    rows = [sampler.draw(classes, 3).rows for classes in (POSITIVES[:1, :1], torch.tensor([[0, -1, -1]]))]
    assert torch.equal(*rows)


@pytest.mark.parametrize("samples", [1, 3])
def test_inclusion_is_the_share_of_samples_with_a_class(samples: int) -> None:
    """Positives differ from step to step, as in training."""
    sampler = sampler_with(samples, 0.1, "none")
    generator = torch.Generator().manual_seed(1)
    frequent = 1.0 / torch.arange(1, CLASSES + 1)
    positives_in, in_sample = torch.zeros(CLASSES), torch.zeros(CLASSES, dtype=torch.float64)
    for step in range(DRAWS):
        positives = torch.multinomial(frequent, 12, generator=generator).view(4, 3)
        positives_in += sampler.positive_counts(positives)
        in_sample += (dense_weights(sampler.draw(positives, step), CLASSES, samples) > 0).sum(1)
    total = DRAWS * samples
    found = sampler.log_inclusion(positives_in.double() / total).exp()
    error = (in_sample / total - found) / (found * (1 - found) / total).sqrt().clamp_min(1e-9)
    assert found.max() > 0.35
    assert found.min() < 0.12
    assert error.abs().max() < 5


def test_pair_weights_are_those_of_the_samples() -> None:
    for negative_weight in ("none", "importance"):
        sampler = sampler_with(3, 0.3, negative_weight)
        weights = dense_weights(sampler.draw(POSITIVES, 2), CLASSES, 3)
        assert torch.equal(sampler.pair_weights(POSITIVES, 2).double(), weights[POSITIVES])
    assert (sampler_with(1, 0.3).pair_weights(POSITIVES, 2) == 1).all()
