"""The sample of centers of a step: every positive of the global batch, and random negatives.

A positive of the batch is in the sample with certainty, any other class only if it is drawn. With
``negative_weight="importance"``, each center of the sample is weighted by 1 / the probability that it is in it: 1 for a
positive, the size of its block for a drawn class. The weighted sum over the sample is then an unbiased estimate of the
sum over all classes. (Bengio and Senecal, 2008; Yi et al., 2019, who add ln of the weight to the logit.)

Shape suffixes: B images of the global batch, K samples (one per slot, or 1), P positives of an image, N classes drawn
by a sample, R rows of this rank.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.heads.sampling import NegativeSampler

NegativeWeight: TypeAlias = Literal["none", "importance"]


@dataclass(frozen=True)
class CenterSampler:
    """Draws the sample of this rank's centers; functions of (seed, step, class id), independent of the rank.

    first_class, last_class: this rank's centers are the classes first_class .. last_class - 1.
    negatives: the random draws.
    samples: K; 1 if one sample holds the positives of all columns, else sample k holds those of column k.
    sample_rate: 1.0 puts every center into every sample.
    """

    first_class: int
    last_class: int
    negatives: NegativeSampler
    samples: int
    sample_rate: float
    negative_weight: NegativeWeight
    seed: int

    def draw(self, positives_BP: Tensor, step: int) -> SampledCenters:
        """Returns the sample. positives_BP: class ids, int64; -1 is none."""
        rows = self.last_class - self.first_class
        if self.sample_rate == 1.0:
            return SampledCenters(rows=None, weights=None, size=rows)
        device = positives_BP.device
        slots_K = torch.arange(self.samples, device=device)
        drawn_KN = self.negatives.draw(self.first_class, self.last_class, seed=self.seed, step=step, slots=slots_K)
        # Marking rows avoids a sort and synchronises with the device only once.
        weighted = self.negative_weight == "importance"
        dtype = torch.float32 if weighted else torch.bool
        weights_RK = torch.zeros((rows + 1, self.samples), dtype=dtype, device=device)
        self._mark(weights_RK, drawn_KN, self.negatives.block_sizes(drawn_KN).to(dtype))
        self._mark(weights_RK, self._of_each_sample(positives_BP), 1)
        sampled = weights_RK[:-1].any(1).nonzero().squeeze(1)
        if self.samples == 1 and not weighted:
            return SampledCenters(rows=sampled, weights=None, size=sampled.shape[0])
        return SampledCenters(rows=sampled, weights=weights_RK[sampled].float(), size=sampled.shape[0])

    def positive_counts(self, positives_BP: Tensor) -> Tensor:
        """Returns the number of samples in which each local center is as a positive, int64 [R]."""
        rows = self.last_class - self.first_class
        marks_RK = torch.zeros((rows + 1, self.samples), dtype=torch.bool, device=positives_BP.device)
        self._mark(marks_RK, self._of_each_sample(positives_BP), 1)
        return marks_RK[:-1].sum(1)

    def pair_weights(self, drawn_BK: Tensor, step: int) -> Tensor:
        """Returns the weight of drawn tag j of image b in the sample of slot k, [B, K (tag j), K (slot k)]; 0 if it is
        not in it."""
        batch, slots = drawn_BK.shape
        weights_BKK = torch.ones((batch, slots, slots), device=drawn_BK.device)
        if self.sample_rate == 1.0 or self.samples == 1:
            return weights_BKK
        slot_K = torch.arange(slots, device=drawn_BK.device)
        classes_BK1 = drawn_BK.unsqueeze(2)
        is_drawn_BKK = self.negatives.contains(classes_BK1, slot_K, seed=self.seed, step=step)
        if self.negative_weight == "importance":
            weights_BKK *= self.negatives.block_sizes(classes_BK1)
        weights_BKK *= is_drawn_BKK
        for slot in range(slots):
            weights_BKK[:, :, slot].masked_fill_(torch.isin(drawn_BK, drawn_BK[:, slot]), 1.0)
        return weights_BKK

    def log_inclusion(self, positive_share_R: Tensor) -> Tensor:
        """Returns ln of the probability that each local center is in a sample, float64 [R].

        positive_share_R: share of the samples in which the center is as a positive.
        """
        classes_R = torch.arange(self.first_class, self.last_class, device=positive_share_R.device)
        drawn_R = 1.0 / self.negatives.block_sizes(classes_R).double()
        return torch.log(positive_share_R + (1.0 - positive_share_R) * drawn_R)

    def local_rows(self, classes: Tensor) -> Tensor:
        """Returns the row numbers of class ids on this rank; -1 for a class of another rank and for none."""
        mine = (classes >= self.first_class) & (classes < self.last_class)
        return torch.where(mine, classes - self.first_class, -1)

    def _mark(self, marks_RK: Tensor, classes_KN: Tensor, values: Tensor | int) -> None:
        """Writes values at the local rows of each sample's classes.

        marks_RK: has an extra last row. Classes of other ranks have the row number -1 and mark it.
        """
        slots_K1 = torch.arange(self.samples, device=marks_RK.device).unsqueeze(1)
        marks_RK[self.local_rows(classes_KN), slots_K1] = values

    def _of_each_sample(self, positives_BP: Tensor) -> Tensor:
        """Returns the positives that each sample holds, [K, any]."""
        return positives_BP.flatten().unsqueeze(0) if self.samples == 1 else positives_BP.T
