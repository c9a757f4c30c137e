"""A reference implementation of the loss, in float64 and with loops."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.heads.sampling import NegativeSampler


def target_logit(cos: Tensor, margin: Margin) -> Tensor:
    theta = torch.acos(cos.clamp(-1 + 1e-6, 1 - 1e-6))
    angle = margin.m1 * theta + margin.m2
    value = torch.cos(angle)
    if margin.m1 == 1.0 and angle > math.pi:
        value = cos - margin.m2 * math.sin(margin.m2)
    if margin.m1 == 1.0 and margin.m2 == 0.0:
        value = cos
    logit = margin.scale * (value - margin.m3)
    if margin.gradient == "straight_through":
        return margin.scale * cos + (logit - margin.scale * cos).detach()
    return logit


def sample_weights(head: PartialFC, positives_BP: Tensor) -> Tensor:
    """Returns the weight of every class in every sample of a step, float64 [samples, C]; 0 outside the sample."""
    classes, columns = head.num_classes, positives_BP.shape[1]
    samples = columns if head.objective == "slots" and head.sampling == "independent" else 1
    if head.sample_rate == 1.0:
        return torch.ones((samples, classes), dtype=torch.float64)
    negatives = NegativeSampler(classes, head.sample_rate)
    weights = torch.zeros((samples, classes), dtype=torch.float64)
    for number in range(samples):
        drawn = negatives.draw(0, classes, seed=head.seed, step=head.negatives_step, slots=torch.tensor([number]))[0]
        for block, class_id in enumerate(drawn.tolist()):
            first, last = (edge * classes // negatives.blocks for edge in (block, block + 1))
            weights[number, class_id] = last - first if head.negative_weight == "importance" else 1.0
        forced = positives_BP if samples == 1 else positives_BP[:, number]
        weights[number, forced[forced >= 0]] = 1.0
    return weights


def negative_weights(head: PartialFC, labels: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Returns the weight of every class in the sums of every image, float64 [B, samples, C]; 0 if it is no negative.

    With one sample for all slots, there is still a row for each slot, because each has its own positive.
    """
    positives = head.draw_positives(labels)
    weights = sample_weights(head, positives)
    if head.objective == "slots":
        weights = weights.expand(positives.shape[1], -1)
    weights = weights.repeat(labels.shape[0], 1, 1)
    for image in range(labels.shape[0]):
        excluded = set() if ignored is None else set(ignored[image].tolist())
        if head.mask_own_tags:
            excluded |= set(labels[image].tolist())
        for number in range(weights.shape[1]):
            own = positives[image, number : number + 1] if head.objective == "slots" else positives[image]
            weights[image, number, list((excluded | set(own.tolist())) - {-1})] = 0.0
    return weights


def dense_loss(
    head: PartialFC, embeddings: Tensor, weight: Tensor, labels: Tensor, ignored: Tensor | None = None
) -> Tensor:
    """Returns the loss of the head's current step. embeddings [B, D] and weight [C, D] are float64."""
    positives, margin = head.draw_positives(labels), head.margin
    weights = negative_weights(head, labels, ignored)
    cos = torch.nn.functional.normalize(embeddings, dim=1) @ torch.nn.functional.normalize(weight, dim=1).T
    losses = []
    for image in range(labels.shape[0]):
        own = positives[image][positives[image] >= 0]
        targets = torch.stack([target_logit(cos[image, positive], margin) for positive in own])
        cosines = cos[image]
        if margin.filter_threshold is not None:
            cosines = torch.where(cosines > margin.filter_threshold, torch.zeros_like(cosines), cosines)
        logits = margin.scale * cosines + torch.log(weights[image])  # [samples, C]
        if head.objective == "slots":
            terms = [
                torch.logsumexp(torch.cat([target[None], logits[number]]), 0) - target
                for number, target in enumerate(targets)
            ]
            losses.append(torch.stack(terms).mean())
        elif head.objective == "soft":
            shares = torch.ones(len(own)) if head.tag_weights is None else head.tag_weights.cpu()[own]
            log_z = torch.logsumexp(torch.cat([targets, logits[0]]), 0)
            losses.append((shares.double() / shares.double().sum() * (log_z - targets)).sum())
        else:
            zero = torch.zeros(1, dtype=torch.float64)
            losses.append(
                torch.logsumexp(torch.cat([zero, -targets]), 0) + torch.logsumexp(torch.cat([zero, logits[0]]), 0)
            )
    return torch.stack(losses).mean()


@pytest.fixture(scope="session")
def dense() -> Callable[..., Tensor]:
    return dense_loss


@pytest.fixture(scope="session", name="sample_weights")
def sample_weights_fixture() -> Callable[..., Tensor]:
    return sample_weights


@pytest.fixture(scope="session", name="negative_weights")
def negative_weights_fixture() -> Callable[..., Tensor]:
    return negative_weights
