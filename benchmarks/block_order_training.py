"""Trains small encoders with order = "random" and "blocks" on images whose neighbours are alike.

    python benchmarks/block_order_training.py FOLDER [--seeds 3] [--steps 500] [--images documents|by-word]

Renders images of single words in FOLDER, in documents of eight images that have the same colours and size and show four
words. They are labelled with their true text, once in the order of documents and once sorted by word. Then small
encoders are trained on one core, one after the other. Prints the mean loss of the last epoch and the word mAP of
held-out images. An interrupted command resumes with the unfinished runs.
"""

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFilter, ImageFont

ROOT = Path(__file__).resolve().parents[1]
WORDS = (ROOT / "examples" / "reading" / "words.txt").read_text(encoding="utf-8").split()[:30]
DOCUMENTS, HELD_OUT_DOCUMENTS, IMAGES, TOPIC = 500, 60, 8, 4
BATCH = 32
SETTINGS = (
    "backbone.num_hidden_layers=3",
    f"heads.ocr.global_batch={BATCH}",
    "run.device=cpu",
    "run.log_every=1000",
    "run.checkpoint_every=1000000",
    "tracking.trackers=[]",
)


class Case(NamedTuple):
    """Runs that differ only in their seeds. window: blocks of a window; None for order = "random"."""

    arrangement: str
    records: int
    window: int | None

    @property
    def name(self) -> str:
        """The name of the runs' folders."""
        return f"{self.arrangement}-{'random' if self.window is None else f'{self.records}x{self.window}'}"


CASES = (
    Case("documents", 0, None),
    Case("documents", 16, 16),
    Case("by-word", 0, None),
    Case("by-word", 16, 16),
    Case("by-word", 4, 64),
    Case("by-word", 16, 2),
)


def document(number: int) -> list[tuple[str, bytes]]:
    """Returns word and JPEG of each image of a document."""
    rng = random.Random(number)
    topic = rng.sample(WORDS, TOPIC)
    ground = tuple(rng.randrange(150, 256) for _ in range(3))
    ink = tuple(rng.randrange(0, 90) for _ in range(3))
    if rng.random() < 0.3:
        ground, ink = ink, ground
    height, blur = rng.randrange(20, 40), rng.random()
    images = []
    for _ in range(IMAGES):
        word = rng.choice(topic)
        font = ImageFont.load_default(height)
        box = font.getbbox(word)
        margins = [rng.randrange(2, 8) for _ in range(4)]
        size = (box[2] + margins[0] + margins[1], box[3] + margins[2] + margins[3])
        image = Image.new("RGB", size, ground)
        ImageDraw.Draw(image).text((margins[0], margins[2]), word, fill=ink, font=font)
        image = image.rotate(rng.uniform(-2, 2), Image.Resampling.BICUBIC, fillcolor=ground)
        encoded = io.BytesIO()
        image.filter(ImageFilter.GaussianBlur(blur)).save(encoded, "JPEG", quality=rng.randrange(40, 95))
        images.append((word, encoded.getvalue()))
    return images


def label(folder: Path, name: str, images: list[tuple[str, bytes]]) -> None:
    """Makes the data set FOLDER/NAME of these images, in this order."""
    if (folder / name / "manifest.json").is_file():
        return
    source, table = folder / f"{name}.tar", folder / f"{name}.jsonl"
    with tarfile.open(source, "w") as tar, table.open("w", encoding="utf-8") as lines:
        for number, (word, data) in enumerate(images):
            key = f"{number:06d}.jpg"
            member = tarfile.TarInfo(key)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            lines.write(json.dumps({"key": key, "lines": [word]}) + "\n")
    vocabulary = ROOT / "examples" / "reading" / "words.txt"
    run("build-labels", source, "--lines", table, "--vocab", vocabulary, "--out", folder / name)


def run(*arguments: object) -> None:
    """Runs an ovocr command with one thread in each process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ovocr", *map(str, arguments)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def train(folder: Path, case: Case, seed: int, steps: int) -> tuple[float, float]:
    """Trains unless it is done. Returns the mean loss of the last epoch and the word mAP of held-out images."""
    output = folder / "runs" / f"{case.name}-{steps}-{seed}"
    settings = [
        *SETTINGS,
        f"run.output={output}",
        f"run.seed={seed}",
        f"run.steps={steps}",
        f'heads.ocr.data=["{folder / case.arrangement}"]',
        f'evaluation.data=["{folder / "held-out"}"]',
        f"evaluation.every={steps}",
        "evaluation.crops=1",
        "evaluation.replicates=2",
    ]
    if case.window is not None:
        own = {"order": "blocks", "block_records": case.records, "window_blocks": case.window}
        settings += [f"heads.ocr.{key}={value}" for key, value in own.items()]
    options = [part for setting in settings for part in ("--set", setting)]
    run("train", ROOT / "configs" / "demo.toml", *options)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    epoch = DOCUMENTS * IMAGES // BATCH
    loss = statistics.mean(line["loss"] for line in lines[-epoch:])
    return loss, lines[-1]["evaluation"]["ocr"]["held-out"]["word_map"]["value"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument(
        "--images", choices=("documents", "by-word"), help="only this order of the images; default both"
    )
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    images = [image for number in range(DOCUMENTS) for image in document(number)]
    label(folder, "documents", images)
    label(folder, "by-word", sorted(images))
    held_out = range(DOCUMENTS, DOCUMENTS + HELD_OUT_DOCUMENTS)
    label(folder, "held-out", [image for number in held_out for image in document(number)])
    print("| images | order | block_records x window_blocks | window, share of the images | loss | word mAP |")
    print("|---|---|---|---|---|---|")
    for case in (case for case in CASES if options.images in (None, case.arrangement)):
        found = [train(folder, case, seed, options.steps) for seed in range(options.seeds)]
        losses, maps = (", ".join(f"{value:.3f}" for value in values) for values in zip(*found, strict=True))
        order = ["random", "", ""]
        if case.window is not None:
            share = case.records * case.window / (DOCUMENTS * IMAGES)
            order = ["blocks", f"{case.records} x {case.window}", f"{share:.1%}"]
        print(f"| {case.arrangement} | {' | '.join(order)} | {losses} | {maps} |", flush=True)


if __name__ == "__main__":
    main()
