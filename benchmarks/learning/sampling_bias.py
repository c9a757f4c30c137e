"""The cost of sampled negatives for frequent words: recall with and without a correction for the sampling.

    python benchmarks/learning/sampling_bias.py FOLDER

A word that is a tag of any image of the batch is in every softmax of the step, any other word only if it is drawn. So
the logits of frequent words are pushed down more often than the logits of rare words, and a sampled softmax learns, up
to a constant, ln P(word | image) - ln P(word is in the softmax) (Bengio and Senecal, 2008). FOLDER is the folder of
experiment.py. The printed table has the recall of the plain cosines, and with that logarithm added: scale * cosine +
ln(q + (1 - q) * rate), q = 1 - (1 - p)^batch, p = share of the training samples with the word.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from experiment import KS, SAMPLINGS
from learning_data import HELD_OUT, TRAINED_ON
from learning_report import markdown_table
from mean_recall import mean_recall
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ovocr.trainer.data.head_data import open_samples
from ovocr.trainer.data.samples import Samples
from ovocr.trainer.training.model import TrainedRun

_BATCH = 64  # images per forward pass of the backbone


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rows = []
    for kind in SAMPLINGS:
        runs = [kept.with_suffix("") for kept in sorted((folder / "runs").glob(f"{kind}-[0-9]*.json"))]
        if not runs:
            sys.exit(f"{folder / 'runs'}: no run of {kind}; benchmarks/learning/experiment.py makes them")
        of_runs = [_recalls(TrainedRun.load(run, torch.device("cpu")), folder / "blocks") for run in runs]
        for row in of_runs[0]:
            means = [sum(values) / len(values) for values in zip(*(recalls[row] for recalls in of_runs), strict=True)]
            rows.append([kind, *row, *(f"{mean:.3f}" for mean in means)])
    print(markdown_table(["mean over seeds", "data", "logits", *(f"recall@{k}" for k in KS)], rows))


def _recalls(trained: TrainedRun, blocks: Path) -> dict[tuple[str, str], list[float]]:
    """Returns recall at each of KS, by held-out data and by correction of the logits."""
    head = trained.config.heads["ocr"]
    share_C = np.zeros(trained.model.heads["ocr"].num_classes)
    for data, weight in zip(TRAINED_ON, head.mixing_weights, strict=True):
        samples = _open(trained, blocks / data)
        counts = samples.class_counts()
        share_C[: len(counts)] += weight / sum(head.mixing_weights) * counts / len(samples)
    in_batch_C = 1 - (1 - share_C) ** head.global_batch
    included_C = in_batch_C + (1 - in_batch_C) * head.sample_rate
    found = {}
    for data in HELD_OUT:
        cosines_NC, tags = _cosines(trained, _open(trained, blocks / data))
        logits_NC = head.margin.scale * cosines_NC
        for done, answers_NC in (("uncorrected", logits_NC), ("corrected", logits_NC + np.log(included_C))):
            nearest_NK = np.argsort(-answers_NC, axis=1)[:, : max(KS)]
            found[data, done] = list(mean_recall(tags, nearest_NK, KS).values())
    return found


def _open(trained: TrainedRun, data: Path) -> Samples:
    head, image_size = trained.config.heads["ocr"], trained.config.backbone.image_size
    return open_samples(head, [data], num_classes=trained.model.heads["ocr"].num_classes, image_size=image_size)


def _cosines(trained: TrainedRun, samples: Samples) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
    """Returns the cosines of every image to every class center [N, C], and its distinct tags."""
    embeddings: list[Tensor] = []
    tags = []
    for first in range(0, len(samples), _BATCH):
        loaded = [samples.load(number) for number in range(first, min(first + _BATCH, len(samples)))]
        embeddings.append(trained.embed("ocr", torch.from_numpy(np.stack([sample.pixels for sample in loaded]))))
        tags += [np.unique(sample.labels) for sample in loaded]
    units_ND = normalize(torch.cat(embeddings).float(), dim=1)
    return (units_ND @ normalize(trained.model.heads["ocr"].weight.float(), dim=1).T).numpy(), tags


if __name__ == "__main__":
    main()
