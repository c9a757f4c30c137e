"""Tag recall of a head over all class centers: how many of an image's tags are among the centers nearest to it.

Shapes: N samples, K answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ovocr.trainer.data.samples import Samples
from ovocr.trainer.data.thumbnails import spread_evenly
from ovocr.trainer.evaluation.effective_rank import EffectiveRank
from ovocr.trainer.evaluation.embedded_samples import EmbeddedSamples
from ovocr.trainer.evaluation.examples import Example, make_example
from ovocr.trainer.evaluation.recall import GroupRecall, RecallTally, most_frequent_tags, ranks_of
from ovocr.trainer.evaluation.sampling_correction import CorrectionName, SamplingCorrection
from ovocr.trainer.heads.ranking import nearest_centers
from ovocr.trainer.measures.bands import FREQUENCY_BANDS, frequency_bands
from ovocr.trainer.measures.class_names import ClassNames
from ovocr.vocab.word_script import SCRIPTS

# Samples that are ranked together. Reading and normalising all centers costs as much as ranking a few hundred samples.
_RANKING_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class HeadRecall:
    """Recall of one head.

    images: number of undamaged samples of the data.
    classes: number of class centers, all of which are ranked.
    training_images: number of samples from which prior and bands are counted.
    embedding_dim: width of the embeddings.
    effective_rank: number of directions in which the embeddings differ; None for a single image.
    every: recall of all tags.
    scripts: recall by script, for scripts that occur; empty if the head has no vocabulary.
    bands: recall by number of training images, for bands that occur.
    examples: samples spread evenly over the data.
    sampling_correction: how the answers were corrected for the sampling of negatives; None: they were not to be.
    """

    images: int
    classes: int
    training_images: int
    embedding_dim: int
    effective_rank: float | None
    every: GroupRecall
    scripts: dict[str, GroupRecall]
    bands: dict[str, GroupRecall]
    examples: tuple[Example, ...] = ()
    sampling_correction: CorrectionName | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns counts, effective rank, the correction, and recall@k and prior_recall@k for each k, in total and by
        script and band."""
        return {
            "images": self.images,
            "classes": self.classes,
            "training_images": self.training_images,
            "embedding_dim": self.embedding_dim,
            "effective_rank": self.effective_rank,
            "sampling_correction": self.sampling_correction,
            **_recalls(self.every),
            "scripts": {name: _group_to_json(group) for name, group in self.scripts.items()},
            "bands": {name: _group_to_json(group) for name, group in self.bands.items()},
        }


def measure_recall(
    embedded: EmbeddedSamples,
    weight_CD: Tensor,
    names: ClassNames,
    *,
    training_images: int,
    class_counts: NDArray[np.int64],
    ks: tuple[int, ...],
    shown: Samples,
    examples: int,
    progress: str,
    correction: SamplingCorrection | None = None,
) -> HeadRecall:
    """Returns the recall of all embedded samples.

    training_images, class_counts: number of training samples, in total and by class id. ks: every k, ascending.
    shown: all samples, also the damaged ones, at the size of thumbnails. examples: number of examples. progress: label
    of the progress bar. correction: of the answers; None ranks them by cosine.
    """
    prior, bands = most_frequent_tags(class_counts, ks[-1]), frequency_bands(class_counts, len(weight_CD))
    numbers = {script: number for number, script in enumerate(SCRIPTS)}
    every, by_script, by_band = (RecallTally(groups, ks) for groups in (("all",), SCRIPTS, FREQUENCY_BANDS))
    chosen = set(spread_evenly(len(embedded.labels), examples)) if examples else set()
    effective_rank = EffectiveRank(weight_CD.shape[1])
    kept = []
    added_C = None if correction is None else correction.added_C
    for ranked in _rank(embedded, weight_CD, added_C, ks[-1], effective_rank, progress):
        ranks, prior_ranks = ranks_of(ranked.labels, ranked.answers), ranks_of(ranked.labels, prior)
        every.add(np.zeros_like(ranked.labels), ranks, prior_ranks)
        by_band.add(bands[ranked.labels], ranks, prior_ranks)
        if names.are_words:
            scripts = np.array([numbers[names.script(int(label))] for label in ranked.labels], np.int64)
            by_script.add(scripts, ranks, prior_ranks)
        if ranked.row in chosen:
            kept.append((ranked, ranks))
    return HeadRecall(
        images=len(embedded.labels),
        classes=len(weight_CD),
        training_images=training_images,
        embedding_dim=weight_CD.shape[1],
        effective_rank=effective_rank.result(),
        every=every.result()["all"],
        scripts=dict(sorted(by_script.result().items(), key=lambda item: -item[1].pairs)),
        bands=by_band.result(),
        examples=tuple(
            make_example(
                shown,
                int(embedded.numbers_N[ranked.row]),
                names.word,
                tags=ranked.labels,
                ranks=ranks,
                answers=ranked.answers,
                scores=ranked.scores,
            )
            for ranked, ranks in kept
        ),
        sampling_correction=None if correction is None else correction.name,
    )


class _Ranked(NamedTuple):
    """Result of one sample: its row among the embedded ones, distinct labels [n], answers [K] and their scores.

    The best answer is first.
    """

    row: int
    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    scores: NDArray[np.float32]


def _rank(
    embedded: EmbeddedSamples,
    weight_CD: Tensor,
    added_C: Tensor | None,
    k: int,
    effective_rank: EffectiveRank,
    progress: str,
) -> Iterator[_Ranked]:
    """Yields every sample in order with its k best answers.

    added_C: number to add to the cosine of each class. effective_rank: collects all embeddings.
    """
    with tqdm(total=len(embedded.labels), desc=progress, unit="image", disable=None) as bar:
        for first in range(0, len(embedded.labels), _RANKING_BATCH):
            part_BD = embedded.embeddings_ND[first : first + _RANKING_BATCH]
            effective_rank.add(part_BD)
            scores, classes = (values.cpu().numpy() for values in nearest_centers(part_BD, weight_CD, k, added_C))
            for row, answers, own in zip(range(first, first + len(part_BD)), classes, scores, strict=True):
                yield _Ranked(row, embedded.labels[row], answers, own)
            bar.update(len(part_BD))


def _recalls(group: GroupRecall) -> dict[str, float]:
    return {
        key: value
        for k in group.recall
        for key, value in ((f"recall@{k}", group.recall[k]), (f"prior_recall@{k}", group.prior[k]))
    }


def _group_to_json(group: GroupRecall) -> dict[str, Any]:
    return {"images": group.images, "pairs": group.pairs, **_recalls(group)}
