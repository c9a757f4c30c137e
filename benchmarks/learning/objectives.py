"""Compares objectives and weights of negatives: small encoders trained on equal samples, read on held-out blocks.

    python benchmarks/learning/objectives.py RECEIPTS FOLDER [--samples N] [--seeds N] [--shards N] [--threads N]

RECEIPTS and FOLDER are those of experiment.py; missing data are made by the same code. Every case is trained once for
each seed, with the same samples and the same initial weights in all cases. The script then computes, on held-out blocks
of receipts of other shops and of other pages: word AUC, the mean over words with at least five blocks that have them
and five that have not, and recall@k. Intervals contain 95% of 1,000 bootstrap replicates over shops (pages), in each of
which the figures of the seeds are averaged. A difference to the published objective is taken within each replicate.

Results are FOLDER/objectives.json and objectives.md (the tables). A run that was interrupted resumes.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from experiment import BATCH, CONFIG
from learning_data import HELD_OUT, TRAINED_ON, make_data
from learning_report import markdown_table
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.data.head_data import open_samples
from ovocr.trainer.training.model import TrainedRun

KS = (1, 5, 10)
LEAST_IMAGES = 5  # with a word, and without it, for its AUC
REPLICATES = 1000
PUBLISHED = "slots, none"
_SHARED = ['heads.ocr.sampling="shared"', "heads.ocr.sample_rate=0.1"]
_IMPORTANCE = [*_SHARED, 'heads.ocr.negative_weight="importance"']
CASES = {
    PUBLISHED: _SHARED,
    "slots, importance": _IMPORTANCE,
    "soft, importance": [*_IMPORTANCE, 'heads.ocr.objective="soft"'],
    "two_sided, importance": [*_IMPORTANCE, 'heads.ocr.objective="two_sided"'],
    "slots, exact": ["heads.ocr.sample_rate=1.0"],
}
CORRECTED = f"{PUBLISHED}, answers corrected"
_EMBEDDED = 64  # blocks per forward pass


@dataclass(frozen=True)
class HeldOutBlocks:
    """Blocks of a data set: distinct tags of each, and the number of its shop or page."""

    folder: Path
    tags: list[NDArray[np.int64]]
    groups_N: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("receipts", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=32_000, help="training samples of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=8, help="shards of 250 pages; the last one is held out")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of a run")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_data(folder, options.receipts, options.shards)
    for seed in range(options.seeds):
        for name, settings in CASES.items():
            train(folder, name, seed, options.samples // BATCH, settings, options.threads)
    torch.set_num_threads(options.threads)
    result = {
        data: compare(folder, held_out_blocks(folder, data, options.receipts), options.seeds) for data in HELD_OUT
    }
    content = {"samples": options.samples, "seeds": options.seeds, "results": result}
    (folder / "objectives.json").write_text(json.dumps(content, indent=1) + "\n")
    text = "\n\n".join(table(data, of_cases) for data, of_cases in result.items()) + "\n"
    (folder / "objectives.md").write_text(text)
    print(text)


def run_folder(folder: Path, name: str, seed: int) -> Path:
    return folder / "objectives" / f"{name.replace(', ', '-')}-{seed}"


def train(folder: Path, name: str, seed: int, steps: int, settings: list[str], threads: int) -> None:
    """Trains or resumes a run; does nothing if it is finished."""
    data = [str(folder / "blocks" / name) for name in TRAINED_ON]
    every = [
        f"run.output={run_folder(folder, name, seed)}",
        f"run.seed={seed}",
        f"run.steps={steps}",
        "run.checkpoint_every=250",
        "run.keep_checkpoints=1",
        f"heads.ocr.global_batch={BATCH}",
        f"heads.ocr.data={json.dumps(data)}",
    ]
    command = [sys.executable, "-m", "ovocr", "train", str(CONFIG)]
    for setting in (*every, *settings):
        command += ["--set", setting]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})


def held_out_blocks(folder: Path, data: str, receipts: Path) -> HeldOutBlocks:
    """Reads tags and groups: a receipt belongs to the shop that its text begins with, a page is its own group."""
    data_set = LabelledDataSet.open(folder / "blocks" / data)
    rows = [
        row
        for shard in sorted(data_set.finished_shards())
        for row in pq.read_table(data_set.records_path(shard), columns=["source", "tags"]).to_pylist()
    ]
    names = [row["source"] for row in rows]
    if "receipts" in data:
        names = [(receipts / name).with_suffix(".txt").read_text(encoding="utf-8").splitlines()[0] for name in names]
    tags = [np.unique([tag["id"] for tag in row["tags"]]) for row in rows]
    return HeldOutBlocks(data_set.root, tags, np.unique(names, return_inverse=True)[1])


def compare(folder: Path, blocks: HeldOutBlocks, seeds: int) -> dict[str, dict[str, Any]]:
    """Returns, by case, the figures with intervals, and their differences to the published objective."""
    weights_RN = replicate_weights(blocks.groups_N)
    figures: dict[str, NDArray[np.float64]] = {}  # by case: [seeds, measures, 1 + replicates]
    for name in CASES:
        of_seeds: dict[str, list[NDArray[np.float64]]] = {}
        for seed in range(seeds):
            trained = TrainedRun.load(run_folder(folder, name, seed), torch.device("cpu"))
            logits_NC = scaled_cosines(trained, blocks)
            of_seeds.setdefault(name, []).append(measure(logits_NC, blocks.tags, weights_RN))
            correction_C = trained.model.heads["ocr"].ranking_correction()
            if correction_C is not None:
                corrected_NC = logits_NC + correction_C.numpy()
                of_seeds.setdefault(CORRECTED, []).append(measure(corrected_NC, blocks.tags, weights_RN))
        figures |= {case: np.stack(values) for case, values in of_seeds.items()}
    measures = ["word AUC", *(f"recall@{k}" for k in KS)]
    published_MR = figures[PUBLISHED].mean(0)
    return {
        case: {
            measure: {
                **interval(values_SMR.mean(0)[number]),
                "seeds": values_SMR[:, number, 0].tolist(),
                "difference": interval(values_SMR.mean(0)[number] - published_MR[number]),
            }
            for number, measure in enumerate(measures)
        }
        for case, values_SMR in figures.items()
    }


def replicate_weights(groups_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns how often each block counts: once in row 0, then by groups drawn with replacement, [1 + R, N]."""
    groups = int(groups_N.max()) + 1
    draws = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=REPLICATES)
    return np.concatenate([np.ones((1, len(groups_N))), draws[:, groups_N]])


@torch.no_grad()
def scaled_cosines(trained: TrainedRun, blocks: HeldOutBlocks) -> NDArray[np.float64]:
    """Returns scale * cosine of every block and every class center, [N, C]."""
    head = trained.model.heads["ocr"]
    samples = open_samples(
        trained.config.heads["ocr"],
        [blocks.folder],
        num_classes=head.num_classes,
        image_size=trained.config.backbone.image_size,
    )
    embeddings: list[Tensor] = []
    for first in tqdm(range(0, len(samples), _EMBEDDED), desc=str(trained.folder.root.name), leave=False):
        loaded = [samples.load(number).pixels for number in range(first, min(first + _EMBEDDED, len(samples)))]
        embeddings.append(trained.embed("ocr", torch.from_numpy(np.stack(loaded))))
    units_ND = normalize(torch.cat(embeddings).double(), dim=1)
    return head.margin.scale * (units_ND @ normalize(head.weight.double(), dim=1).T).numpy()


def measure(
    logits_NC: NDArray[np.float64], tags: list[NDArray[np.int64]], weights_RN: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns word AUC and recall at each of KS, one column per replicate."""
    order_NK = np.argsort(-logits_NC, axis=1)[:, : max(KS)]
    rows = [word_auc(logits_NC, tags, weights_RN)]
    for k in KS:
        found_N = [np.isin(own, order[:k]).sum() / min(k, len(own)) for own, order in zip(tags, order_NK, strict=True)]
        rows.append(weights_RN @ np.array(found_N) / weights_RN.sum(1))
    return np.stack(rows)


def word_auc(
    logits_NC: NDArray[np.float64], tags: list[NDArray[np.int64]], weights_RN: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the mean area under the ROC curve of the eligible words, of the replicates that have them, [1 + R]."""
    has_NC = np.zeros(logits_NC.shape, bool)
    for row, own in enumerate(tags):
        has_NC[row, own] = True
    counts_C = has_NC.sum(0)
    total_R, words_R = np.zeros(len(weights_RN)), np.zeros(len(weights_RN))
    for word in np.flatnonzero((counts_C >= LEAST_IMAGES) & (len(tags) - counts_C >= LEAST_IMAGES)):
        order_N = np.argsort(logits_NC[:, word], kind="stable")  # equal cosines of different images do not occur
        has_N, sorted_RN = has_NC[order_N, word], weights_RN[:, order_N]
        below_RN = np.cumsum(sorted_RN * ~has_N, axis=1)
        pairs_R = sorted_RN[:, has_N].sum(1) * below_RN[:, -1]
        usable_R = pairs_R > 0
        total_R[usable_R] += (sorted_RN[:, has_N] * below_RN[:, has_N]).sum(1)[usable_R] / pairs_R[usable_R]
        words_R += usable_R
    return total_R / words_R


def interval(values_R: NDArray[np.float64]) -> dict[str, float]:
    """Returns the value of row 0, and the bounds of 95% of the replicates."""
    low, high = np.quantile(values_R[1:], (0.025, 0.975))
    return {"value": float(values_R[0]), "low": float(low), "high": float(high)}


def table(data: str, of_cases: dict[str, dict[str, Any]]) -> str:
    """Returns a Markdown table of figures, and one of differences."""
    measures = list(next(iter(of_cases.values())))
    figures = [[case, *(_cell(found[measure]) for measure in measures)] for case, found in of_cases.items()]
    differences = [
        [case, *(_cell(found[measure]["difference"], sign="+") for measure in measures)]
        for case, found in of_cases.items()
        if case != PUBLISHED
    ]
    return "\n\n".join(
        [
            markdown_table([f"{data}: value (interval)", *measures], figures),
            markdown_table([f"{data}: difference to {PUBLISHED}", *measures], differences),
        ]
    )


def _cell(found: dict[str, float], sign: str = "") -> str:
    return f"{found['value']:{sign}.3f} ({found['low']:{sign}.3f} to {found['high']:{sign}.3f})"


if __name__ == "__main__":
    main()
