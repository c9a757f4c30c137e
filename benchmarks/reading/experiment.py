"""Trains small encoders on the words of documents and measures whether they read documents that they never saw.

    python benchmarks/reading/experiment.py DATA FOLDER [--hours H] [--only data|main|ablation]

DATA is the folder of the real images (see documents.py). The script creates in FOLDER what is missing:

1. data (reading_data.py): labels by OCR for training, human text for evaluation, about 25 minutes;
2. the main run on all cores, 1,500,000 samples, evaluated 40 times;
3. the ablation, one run per core at a time, 100,000 samples each: cases that differ from the base in one choice, and
   the published choices together.

H scales the numbers of samples: 3, the default, are the numbers above, 1 is a third of them, and 0.2 is the least. The
time depends on the machine (the record in benchmarks/results has the times of one). An interrupted command resumes with
the unfinished runs.

The results are FOLDER/reading.json, reading.md (tables), reading.svg (learning curves) and pages/*.html (what the
encoder of the main run reads in held-out images, and in whole receipts, tile by tile).
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from cases import ABLATION, BATCH, MAIN, WORD_HEIGHTS, Case
from commands import end_with_script, run_ovocr
from evaluations import evaluate_all, run_folder
from reading_data import HELD_OUT, TRAINED_ON, make_data
from reading_report import write_report

CONFIG = Path(__file__).with_name("reading.toml")
HOURS, LEAST_HOURS, MOST_HOURS = 3.0, 0.2, 1000.0
MAIN_SAMPLES, ABLATION_SAMPLES = 1_500_000, 100_000  # in HOURS
EVALUATIONS = 40  # of the main run
SCHEDULE = 65  # percent of the steps until the curriculum ends
PAGES, SCENES = 1_200, 900  # rendered images
SHARES = {"receipts": 0.25, "forms": 0.15, "scenes": 0.06, "chinese": 0.04, "pages": 0.3, "rendered-scenes": 0.2}
CROPS_IN_TRAINING, IMAGES_IN_TRAINING = 6, 1_500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=hours, default=HOURS, help="scales the numbers of samples; default 3")
    parser.add_argument("--only", choices=("data", "main", "ablation"), help="only this part")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.data.resolve() in (folder, *folder.parents):
        sys.exit(f"{options.folder}: is in the folder of the images; choose another folder")
    end_with_script()
    share = options.hours / HOURS
    data = make_data(folder, options.data, PAGES, SCENES)
    if options.only in (None, "main"):
        train_main(folder, round(share * MAIN_SAMPLES))
    if options.only in (None, "ablation"):
        train_ablation(folder, round(share * ABLATION_SAMPLES))
    if options.only != "data":
        write_report(folder, data, evaluate_all(folder))


def hours(text: str) -> float:
    """Parses --hours. Raises ArgumentTypeError if the runs would be too short for their warm-up."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not LEAST_HOURS <= value <= MOST_HOURS:
        raise argparse.ArgumentTypeError(f"must be a number from {LEAST_HOURS} to {MOST_HOURS}, found {text}")
    return value


def train_main(folder: Path, samples: int) -> None:
    """Trains or resumes the main run on all cores, with evaluations."""
    cores = sorted(os.sched_getaffinity(0))
    steps = samples // BATCH
    # Words alone, as the curriculum begins with them; the tables also have crops with all their surroundings.
    evaluation = [
        f"evaluation.data={json.dumps([str(folder / 'held-out' / name) for name in HELD_OUT])}",
        f"evaluation.every={max(1, steps // EVALUATIONS)}",
        f"evaluation.images={IMAGES_IN_TRAINING}",
        f"evaluation.crops={CROPS_IN_TRAINING}",
        f"evaluation.groups={folder / 'held-out' / 'groups.csv'}",
        f"evaluation.crop_text_height={list(WORD_HEIGHTS)}",
        "evaluation.crop_context=[0.0, 0.0]",
    ]
    settings = [*settings_of(folder, MAIN, 0, steps), *evaluation]
    run_ovocr("train", str(CONFIG), *set_options(settings), "--nproc-per-node", str(len(cores)), cores=cores)


def train_ablation(folder: Path, samples: int) -> None:
    """Trains or resumes the cases, one on each core at a time."""
    free: SimpleQueue[int] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0))
    for core in cores:
        free.put(core)

    def train(case: Case, seed: int) -> None:
        core = free.get()
        try:
            settings = settings_of(folder, case, seed, samples // BATCH)
            with open(f"{run_folder(folder, case, seed)}.log", "a") as log:
                run_ovocr("train", str(CONFIG), *set_options(settings), cores=[core], output=log)
        finally:
            free.put(core)

    (folder / "runs").mkdir(exist_ok=True)
    with ThreadPoolExecutor(len(cores)) as pool:
        jobs = [pool.submit(train, case, seed) for seed in range(2) for case in ABLATION if seed < case.seeds]
    for job in jobs:
        job.result()


def settings_of(folder: Path, case: Case, seed: int, steps: int) -> list[str]:
    """Returns the settings of a run that reading.toml does not have."""
    return [
        f"run.output={run_folder(folder, case, seed)}",
        f"run.seed={seed}",
        f"run.steps={steps}",
        f"heads.ocr.global_batch={BATCH}",
        f"heads.ocr.data={json.dumps([str(folder / 'trained' / name) for name in TRAINED_ON])}",
        f"heads.ocr.mixing_weights={[SHARES[name] for name in TRAINED_ON]}",
        *(setting.format(schedule=SCHEDULE * steps // 100) for setting in case.settings),
    ]


def set_options(settings: Sequence[str]) -> list[str]:
    """Returns the options of `ovocr train` for settings."""
    return [part for setting in settings for part in ("--set", setting)]


if __name__ == "__main__":
    main()
