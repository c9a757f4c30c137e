"""The positives of each image in a step: tags drawn from its slots, or all of its tags.

Shape suffixes: B images of the global batch, T stored tags, K drawn slots, P positives of an image.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ovocr.trainer.heads.sampling import draw_slots

LabelsPerSample: TypeAlias = int | Literal["all"]


def draw_labels(labels_BT: Tensor, labels_per_sample: int, *, seed: int, step: int) -> Tensor:
    """Returns the tags in K slots drawn without replacement for each image, int64 [B, K]."""
    batch, stored = labels_BT.shape
    slots_BK = draw_slots(batch, stored, labels_per_sample, seed=seed, step=step, device=labels_BT.device)
    return labels_BT.gather(1, slots_BK)


def distinct_classes(classes_BP: Tensor) -> Tensor:
    """Returns the distinct classes of each row, ascending, with -1 in the place of each repetition, int64 [B, P]."""
    sorted_BP = classes_BP.sort(1).values
    return sorted_BP.masked_fill(_repeats(sorted_BP), -1)


def target_distribution(positives_BP: Tensor, tag_weights_C: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Returns targets that add up to 1 for each image, in proportion to the weights of its positives, [B, P].

    positives_BP: class ids; -1 has the target 0. tag_weights_C: weight of each class; None: all are equal.
    """
    is_positive_BP = positives_BP >= 0
    if tag_weights_C is None:
        weights_BP = is_positive_BP.to(dtype)
    else:
        weights_BP = tag_weights_C.to(dtype)[positives_BP.clamp_min(0)] * is_positive_BP
    return weights_BP / weights_BP.sum(1, keepdim=True)


def _repeats(sorted_BP: Tensor) -> Tensor:
    """Returns whether a class of a sorted row is the same as the one before it, bool [B, P]."""
    return torch.cat([torch.zeros_like(sorted_BP[:, :1], dtype=torch.bool), sorted_BP.diff(dim=1) == 0], dim=1)
