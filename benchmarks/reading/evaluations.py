"""Evaluates the runs of the reading experiment on the held-out images; what was evaluated before is not repeated."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from cases import ABLATION, HEIGHTS, LEGIBLE, MAIN, WORD_HEIGHTS, Case
from commands import run_ovocr

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text_heights import text_heights
from ovocr.trainer.runs.folder import RunFolder

CROPS = 32  # of each image


@dataclass(frozen=True)
class HeldOut:
    """Held-out images as they are shown: as crops with a share of their surroundings, or whole.

    name: of the figures. data: name of the data set. title: for tables and plots. context: share of the surroundings of
    the drawn words in crops; None shows images whole. in_ablation: whether the ablation is evaluated on them too.
    """

    name: str
    data: str
    title: str
    context: float | None
    in_ablation: bool = True


SETS = (
    HeldOut("receipts-words", "receipts", "words of receipts of other shops", 0),
    HeldOut("receipts", "receipts", "crops of receipts of other shops", 1),
    HeldOut("forms-words", "forms", "words of other forms", 0),
    HeldOut("forms", "forms", "crops of other forms", 1, in_ablation=False),
    HeldOut("words", "words", "word images of scenes", None),
    HeldOut("chinese-words", "chinese", "words of other Chinese images", 0, in_ablation=False),
)
KS = (1, 5, 10)
READ_RECEIPTS = 3  # held-out receipts that are read in tiles
TILE_LINES = 3.0  # side of a tile, in lines
EXAMPLES = 48

Figures = dict[str, Any]


def run_folder(folder: Path, case: Case, seed: int) -> Path:
    """Returns the folder of a run."""
    return folder / "runs" / f"{case.name}-{seed}"


def evaluate_all(folder: Path) -> dict[str, list[dict[str, Figures]]]:
    """Evaluates the last checkpoints of all finished runs, one on each core at a time.

    Returns, by name of the case, the figures of each seed by name of the held-out set.
    """
    runs = [(case, seed) for case in (MAIN, *ABLATION) for seed in range(case.seeds)]
    runs = [(case, seed) for case, seed in runs if is_finished(run_folder(folder, case, seed))]
    (folder / "evaluations").mkdir(exist_ok=True)
    (folder / "pages").mkdir(exist_ok=True)
    jobs = [(case, seed, shown) for case, seed in runs for shown in SETS if shown.in_ablation or case is MAIN]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(lambda job: evaluate(folder, *job), jobs))
    if any(case is MAIN for case, _ in runs):
        read_receipts(folder)
    results: dict[str, list[dict[str, Figures]]] = {}
    for (case, seed, shown), figures in zip(jobs, found, strict=True):
        seeds = results.setdefault(case.name, [])
        if seed == len(seeds):
            seeds.append({})
        seeds[seed][shown.name] = figures
    return results


def is_finished(run: Path) -> bool:
    """Returns True if the run has the checkpoint of its last step."""
    if not (run / "config.toml").exists():
        return False
    found = RunFolder.open(run)
    newest = found.newest_checkpoint()
    return newest is not None and int(newest.name) == found.config().run.steps


def evaluate(folder: Path, case: Case, seed: int, shown: HeldOut) -> Figures:
    """Returns the figures of `ovocr eval` for the last checkpoint of a run on held-out images."""
    kept = folder / "evaluations" / f"{case.name}-{seed}-{shown.name}.json"
    if not kept.exists():
        command = ["eval", str(run_folder(folder, case, seed))]
        command += ["--data", str(folder / "held-out" / shown.data), "--json", f"{kept}.part"]
        command += ["--groups", str(folder / "held-out" / "groups.csv"), "--min-text-height", str(LEGIBLE)]
        if shown.context is not None:
            heights = HEIGHTS if shown.context else WORD_HEIGHTS
            command += ["--crops", str(CROPS), "--crop-text-height", *map(str, heights)]
            command += ["--crop-context", *[str(shown.context)] * 2]
        for k in KS:
            command += ["--top-k", str(k)]
        if case is MAIN:
            command += ["--html", str(folder / "pages" / f"{shown.name}.html"), "--examples", str(EXAMPLES)]
        run_ovocr(*command, cores=sorted(os.sched_getaffinity(0)), output=subprocess.DEVNULL)
        Path(f"{kept}.part").rename(kept)
    figures: Figures = json.loads(kept.read_text())["heads"]["ocr"]
    return figures


def read_receipts(folder: Path) -> None:
    """Reads the first held-out receipts in tiles with the main run: pages/read-N.html."""
    labels = LabelledDataSet.open(folder / "labels" / "held-out-receipts")
    (shard,) = labels.finished_shards()
    rows = pq.read_table(labels.ocr_path(shard)).slice(0, READ_RECEIPTS).to_pylist()
    for number, row in enumerate(rows):
        page = folder / "pages" / f"read-{number}.html"
        heights = text_heights(np.array([line["box"] for line in row["lines"]], np.float64))
        tile = round(TILE_LINES * float(np.median(heights)))
        image = folder / "documents" / "held-out-receipts" / row["key"]
        if not page.exists():
            run = str(run_folder(folder, MAIN, 0))
            run_ovocr("read", run, str(image), "--tile", str(tile), "--html", str(page))
