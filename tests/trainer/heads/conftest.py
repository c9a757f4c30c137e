"""A reference implementation of the loss, in float64 and with loops."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC


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


def slot_samples(head: PartialFC, drawn_BK: Tensor) -> Tensor:
    """Returns S_k of every slot, bool [K, C]: all positives of the slot and the drawn negatives."""
    samples = torch.zeros((head.labels_per_sample, head.num_classes), dtype=torch.bool)
    if head.sample_rate == 1.0:
        return ~samples
    for slot in range(head.labels_per_sample):
        stream = 0 if head.sampling == "shared" else slot
        slots = torch.tensor([stream])
        negatives = head.sampler.draw(0, head.num_classes, seed=head.seed, step=head.negatives_step, slots=slots)
        samples[slot, negatives[0]] = True
        samples[slot, (drawn_BK if head.sampling == "shared" else drawn_BK[:, slot]).flatten()] = True
    return samples


def slot_negatives(head: PartialFC, labels: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Returns the negatives of every slot of every image in the head's current step, bool [B, K, C]."""
    drawn = head.draw_labels(labels)
    negatives = slot_samples(head, drawn).repeat(labels.shape[0], 1, 1)
    for image in range(labels.shape[0]):
        for slot in range(head.labels_per_sample):
            negatives[image, slot, drawn[image, slot]] = False
            if head.mask_own_tags:
                negatives[image, slot, labels[image]] = False
            for class_id in [] if ignored is None else ignored[image].tolist():
                if class_id != -1:
                    negatives[image, slot, class_id] = False
    return negatives


def dense_loss(
    head: PartialFC, embeddings: Tensor, weight: Tensor, labels: Tensor, ignored: Tensor | None = None
) -> Tensor:
    """Returns the loss of the head's current step. embeddings [B, D] and weight [C, D] are float64."""
    drawn = head.draw_labels(labels)
    negatives = slot_negatives(head, labels, ignored)
    margin = head.margin
    cos = torch.nn.functional.normalize(embeddings, dim=1) @ torch.nn.functional.normalize(weight, dim=1).T
    losses = []
    for image in range(labels.shape[0]):
        for slot in range(head.labels_per_sample):
            positive = drawn[image, slot]
            cosines = cos[image, negatives[image, slot]]
            if margin.filter_threshold is not None:
                cosines = torch.where(cosines > margin.filter_threshold, torch.zeros_like(cosines), cosines)
            logit = target_logit(cos[image, positive], margin)
            losses.append(torch.logsumexp(torch.cat([logit[None], margin.scale * cosines]), 0) - logit)
    return torch.stack(losses).mean()


@pytest.fixture(scope="session")
def dense() -> Callable[..., Tensor]:
    return dense_loss


@pytest.fixture(scope="session", name="slot_samples")
def slot_samples_fixture() -> Callable[..., Tensor]:
    return slot_samples


@pytest.fixture(scope="session", name="slot_negatives")
def slot_negatives_fixture() -> Callable[..., Tensor]:
    return slot_negatives
