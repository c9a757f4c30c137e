"""Evaluates the runs of the reading experiment on the held-out images; what was evaluated before is not repeated."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cases import ABLATION, HEIGHTS, LEGIBLE, MAIN, Case

# Held-out set: number of crops of each image; word images are shown whole, because a crop would cut long words.
CROPS = {"receipts": 16, "forms": 16, "chinese": 16, "words": 0}
KS = (1, 5, 10)
EXAMPLES = 48

Figures = dict[str, Any]


def run_folder(folder: Path, case: Case, seed: int) -> Path:
    """Returns the folder of a run."""
    return folder / "runs" / f"{case.name}-{seed}"


def evaluate_all(folder: Path) -> dict[str, list[dict[str, Figures]]]:
    """Evaluates the last checkpoints of all finished runs, one on each core at a time.

    Returns, by name of the case, the figures of each seed by held-out set.
    """
    runs = [(case, seed) for case in (MAIN, *ABLATION) for seed in range(case.seeds)]
    runs = [(case, seed) for case, seed in runs if (run_folder(folder, case, seed) / "checkpoints").exists()]
    (folder / "evaluations").mkdir(exist_ok=True)
    (folder / "pages").mkdir(exist_ok=True)
    jobs = [(case, seed, name) for case, seed in runs for name in CROPS]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(lambda job: evaluate(folder, *job), jobs))
    results: dict[str, list[dict[str, Figures]]] = {}
    for (case, seed, name), figures in zip(jobs, found, strict=True):
        seeds = results.setdefault(case.name, [])
        if seed == len(seeds):
            seeds.append({})
        seeds[seed][name] = figures
    return results


def evaluate(folder: Path, case: Case, seed: int, name: str) -> Figures:
    """Returns the figures of `ovocr eval` for the last checkpoint of a run on a held-out set."""
    kept = folder / "evaluations" / f"{case.name}-{seed}-{name}.json"
    if not kept.exists():
        command = [sys.executable, "-m", "ovocr", "eval", str(run_folder(folder, case, seed))]
        command += ["--data", str(folder / "held-out" / name), "--json", f"{kept}.part"]
        command += ["--groups", str(folder / "held-out" / "groups.csv"), "--min-text-height", str(LEGIBLE)]
        if CROPS[name]:
            command += ["--crops", str(CROPS[name]), "--crop-text-height", *map(str, HEIGHTS)]
        for k in KS:
            command += ["--top-k", str(k)]
        if case is MAIN:
            command += ["--html", str(folder / "pages" / f"{name}.html"), "--examples", str(EXAMPLES)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        Path(f"{kept}.part").rename(kept)
    figures: Figures = json.loads(kept.read_text())["heads"]["ocr"]
    return figures
