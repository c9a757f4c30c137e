"""Counts how often each class was in a sample as a positive, to know later how much sampling pressed it down."""

import torch
from torch import Tensor, nn


class SampleCounts(nn.Module):
    """Counts over the samples of a training run, saved with the class centers.

    positives: int64 [rows], the number of samples in which each center was as a positive of the batch. samples: int64
        scalar, the number of samples.
    """

    positives: Tensor
    samples: Tensor

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.register_buffer("positives", torch.zeros(rows, dtype=torch.int64))
        self.register_buffer("samples", torch.zeros((), dtype=torch.int64))

    def add(self, positives: Tensor, samples: int) -> None:
        """Adds the counts of a pass."""
        self.positives += positives
        self.samples += samples

    def positive_share(self) -> Tensor:
        """Returns the share of samples in which each center was as a positive, float64 [rows]; 0 before any sample."""
        return self.positives.double() / self.samples.clamp_min(1)
