"""Trains a small encoder on rendered pages and labelled receipts, and evaluates whether it reads held-out ones.

    python benchmarks/learning/experiment.py RECEIPTS FOLDER [--samples N] [--seeds N] [--shards N]

RECEIPTS has images NNN.jpg with their text in NNN.txt. Half of the shops are for training, the others are held out.
The script creates in FOLDER everything that is missing: pages, labels, blocks of four lines (learning_data.py), and
training runs. There is one run for each way to sample negatives, one with an untrained backbone and fitted class
centers, runs that take as long as the fastest one, one with all words of the lexicon as classes, and a quarter of a run
with and without normalised embeddings. `ovocr eval` evaluates each checkpoint. The results are FOLDER/learning.json,
learning.svg (recall by samples) and learning.md (the tables).

If the command is stopped, the same command resumes with the unfinished run.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from constant_answers import constant_recall
from learning_data import HELD_OUT, TRAINED_ON, make_data
from learning_report import plot, tables

CONFIG = Path(__file__).with_name("learning.toml")
BATCH = 32
EVALUATIONS = 6  # number of checkpoints of a run that are evaluated
KS = (1, 5, 10)
SAMPLINGS = {
    "shared": ['heads.ocr.sampling="shared"', "heads.ocr.sample_rate=0.1"],
    "independent": ['heads.ocr.sampling="independent"', "heads.ocr.sample_rate=0.1"],
    "exact": ['heads.ocr.sampling="shared"', "heads.ocr.sample_rate=1.0"],
}


@dataclass
class EvaluatedCheckpoint:
    """A checkpoint: samples and seconds of training so far, and the results of `ovocr eval` on each data set."""

    samples: int
    seconds: float
    found: dict[str, dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("receipts", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=72_000, help="training samples of each run")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds for each encoder")
    parser.add_argument("--shards", type=int, default=12, help="shards of 250 pages; the last one is held out")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data = make_data(folder, options.receipts, options.shards)
    steps = options.samples // BATCH
    runs: dict[str, list[list[EvaluatedCheckpoint]]] = defaultdict(list)  # checkpoints, by name and seed
    for seed in range(options.seeds):
        frozen = [*SAMPLINGS["shared"], "run.freeze_backbone=true"]
        runs["untrained"].append(run(folder, "untrained", seed, steps, frozen))
        for name, settings in SAMPLINGS.items():
            runs[name].append(run(folder, name, seed, steps, settings))
    seconds = {name: runs[name][0][-1].seconds for name in SAMPLINGS}
    for name, settings in SAMPLINGS.items():
        if seconds[name] > 1.05 * min(seconds.values()):
            fewer = int(steps * min(seconds.values()) / seconds[name])
            runs[f"{name}, equal time"] = [run(folder, f"{name}-equal-time", 0, fewer, settings)]
    runs["lexicon"] = [run(folder, "lexicon", 0, steps, SAMPLINGS["shared"], blocks="lexicon-blocks")]
    runs["shared, a quarter of the samples"] = [run(folder, "shared-quarter", 0, steps // 4, SAMPLINGS["shared"])]
    without = [*SAMPLINGS["shared"], 'heads.ocr.embedding_norm="none"']
    runs["without embedding_norm"] = [run(folder, "without-embedding-norm", 0, steps // 4, without)]
    result = {
        "data": data,
        "samples": options.samples,
        "constant answers": {name: constant_recall(folder, name, KS) for name in HELD_OUT},
        "runs": {
            name: [[asdict(each) for each in checkpoints] for checkpoints in seeds] for name, seeds in runs.items()
        },
    }
    (folder / "learning.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(result, folder / "learning.svg")
    (folder / "learning.md").write_text(tables(result))
    print(tables(result))


def run(
    folder: Path, name: str, seed: int, steps: int, settings: list[str], blocks: str = "blocks"
) -> list[EvaluatedCheckpoint]:
    """Trains or resumes, and evaluates the checkpoints; deletes all except the newest after evaluation."""
    output = folder / "runs" / f"{name}-{seed}"
    kept = output.with_suffix(".json")
    if kept.exists():
        return [EvaluatedCheckpoint(**fields) for fields in json.loads(kept.read_text())]
    data = [str(folder / blocks / name) for name in TRAINED_ON]
    every = [
        f"run.output={output}",
        f"run.seed={seed}",
        f"run.steps={steps}",
        f"run.checkpoint_every={-(-steps // EVALUATIONS)}",
        f"heads.ocr.global_batch={BATCH}",
        f"heads.ocr.data={json.dumps(data)}",
    ]
    command = [sys.executable, "-m", "ovocr", "train", str(CONFIG)]
    for setting in (*every, *settings):
        command += ["--set", setting]
    subprocess.run(command, check=True)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    checkpoints = sorted((output / "checkpoints").iterdir())
    evaluated = []
    for checkpoint in checkpoints:
        step = int(checkpoint.name)
        seconds = sum(BATCH / line["images_per_s"] for line in lines[:step])
        found = {data: evaluate(output, folder / blocks / data, step) for data in HELD_OUT}
        evaluated.append(EvaluatedCheckpoint(step * BATCH, round(seconds, 1), found))
    kept.write_text(json.dumps([asdict(each) for each in evaluated]))
    for checkpoint in checkpoints[:-1]:
        shutil.rmtree(checkpoint)
    return evaluated


def evaluate(output: Path, data: Path, step: int) -> dict[str, Any]:
    """Returns the results of `ovocr eval` for a checkpoint on held-out blocks."""
    command = [sys.executable, "-m", "ovocr", "eval", str(output), "--data", str(data), "--step", str(step)]
    command += ["--json", "-"]
    for k in KS:
        command += ["--top-k", str(k)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(found)["heads"]["ocr"]


if __name__ == "__main__":
    main()
