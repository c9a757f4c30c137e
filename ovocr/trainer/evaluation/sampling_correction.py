"""Correction of answers for the sampling of negatives in training: ``--correct-sampling``.

A head that samples negatives learns the logit of class c too high by ln(1 / pi_c), where pi_c is the share of the sums
over negatives that c was in. A class of many images is in nearly all sums as a positive, a rare one only when it is
drawn, so the cosines favour rare classes. The corrected score of a class is

    cosine + ln(pi_c) / scale

For the objective "two_sided" this is an upper bound of the bias, see ``PartialFC.ranking_correction``.

Source: Bengio and Senecal (2008); Yi et al. (2019), who correct the logits during training.
"""

import sys
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from ovocr.base.errors import OvocrError
from ovocr.trainer.training.model import TrainedRun

# "counts": by the counts of the checkpoint. "none needed": the head is not biased.
CorrectionName: TypeAlias = Literal["counts", "none needed"]


@dataclass(frozen=True)
class SamplingCorrection:
    """The correction of a head's answers.

    added_C: number to add to the cosine of each class, float32; None if there is nothing to correct.
    """

    added_C: Tensor | None

    @property
    def name(self) -> CorrectionName:
        """The name of the correction in reports."""
        return "none needed" if self.added_C is None else "counts"


def sampling_correction(trained: TrainedRun, head: str) -> SamplingCorrection:
    """Returns the correction of a head. If there is nothing to correct, prints the reason on stderr.

    Raises OvocrError if the checkpoint has no counts.
    """
    partial_fc = trained.model.heads[head]
    correction_C = partial_fc.ranking_correction()
    if correction_C is None or partial_fc.sample_counts is None:
        reason = f'negative_weight = "{partial_fc.negative_weight}", so its sums are unbiased'
        if partial_fc.sample_rate == 1.0:
            reason = "sample_rate = 1.0, so every class was in every sum"
        print(
            f"ovocr: --correct-sampling: nothing to correct: head {head} was trained with {reason}",
            file=sys.stderr,
            flush=True,
        )
        return SamplingCorrection(None)
    if not partial_fc.sample_counts.samples:
        raise OvocrError(
            f"--correct-sampling: {trained.folder.checkpoint(trained.step)}: has no counts of the sampled classes of "
            f"head {head}, because an earlier version of ovocr wrote it; leave the option out"
        )
    return SamplingCorrection((correction_C / partial_fc.margin.scale).float())
