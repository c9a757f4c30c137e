"""Memory and speed of a long labelling run: `ovocr build-labels` over rendered images, sampled every second.

    python benchmarks/soak.py FOLDER [--images N] [--side PIXELS] [--workers N] [--max-growth MB]

Renders the images in FOLDER (words of several sizes and colours on noisy backgrounds, in every format, the same each
time), labels them, and writes FOLDER/memory.csv (one line per second: time, finished images, memory of the parent and
of all workers), memory.svg (a plot of it) and soak.json (peaks, growth per thousand images after the first fifth of the
run, images/s, replaced workers). Memory is resident memory (/proc/PID/statm); pages of shared libraries count in each
process. The exit code is 1 if an image is lost or --max-growth is exceeded.
"""

import argparse
import csv
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from resident_memory import resident

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}
SHARD_IMAGES = 25  # memory is related to the images of finished shards
WARM_UP = 0.2  # share of the run; until then libraries and arenas fill up
MB = 10**6
KINDS = ("parent", "workers", "largest_worker")
WORDS = """
    river stone garden window coffee ticket market station number street winter summer copper silver bridge total
    invoice receipt blanket lantern violin quartz harbour engine paper kitchen morning evening yellow purple
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Sample:
    """A measurement. seconds: time since the start. parent, workers, largest_worker: resident memory, in bytes."""

    seconds: float
    images: int
    processes: int
    parent: int
    workers: int
    largest_worker: int


def make_images(folder: Path, count: int, side: int) -> None:
    """Creates folders of SHARD_IMAGES images, each a function of its number alone; existing images are kept."""
    for number in range(count):
        ending = list(FORMATS)[number % len(FORMATS)]
        path = folder / f"{number // SHARD_IMAGES:05d}" / f"{number:06d}.{ending}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            image = make_image(random.Random(number), side)
            image.save(path.with_suffix(".new"), FORMATS[ending])
            path.with_suffix(".new").rename(path)


def make_image(dice: random.Random, side: int) -> Image.Image:
    """Renders some lines of words in one size, dark on a bright, slightly noisy background."""
    width, height = dice.randint(side // 3, side), dice.randint(side // 4, side)
    ground = np.random.default_rng(dice.getrandbits(32)).integers(215, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(ground)
    pen, top = ImageDraw.Draw(image), 8
    while top < height - 24:
        size = dice.randint(16, 34)
        text = " ".join(dice.choices(WORDS, k=dice.randint(1, 5)))
        colour = tuple(dice.randrange(110) for _ in range(3))
        pen.text((dice.randint(4, 30), top), text, fill=colour, font=ImageFont.load_default(size))
        top += size + dice.randint(6, 30)
    return image


def children(pid: int) -> list[int]:
    """Returns the worker processes of a run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid and "spawn_main" in (stat.parent / "cmdline").read_text():
                found.append(int(stat.parent.name))
        except (OSError, IndexError):  # it has ended
            continue
    return found


def images_done(out: Path) -> int:
    """Returns the number of images in finished shards."""
    return sum(json.loads(path.read_text())["input"] for path in (out / "stats").glob("[0-9]*.json"))


def watch(process: subprocess.Popen[str], out: Path, interval_s: float) -> Iterator[Sample]:
    start = time.monotonic()
    while process.poll() is None:
        workers = [resident(pid) for pid in children(process.pid)]
        yield Sample(
            seconds=round(time.monotonic() - start, 2),
            images=images_done(out),
            processes=len(workers),
            parent=resident(process.pid),
            workers=sum(workers),
            largest_worker=max(workers, default=0),
        )
        time.sleep(interval_s)


def growth(samples: list[Sample], what: str) -> float:
    """Returns MB per thousand images, by least squares over the samples after the warm-up."""
    last = samples[-1].images
    warm = [sample for sample in samples if last * WARM_UP <= sample.images < last]
    if len({sample.images for sample in warm}) < 2:
        return 0.0
    slope = np.polyfit([sample.images for sample in warm], [getattr(sample, what) for sample in warm], 1)[0]
    return round(float(slope) * 1000 / MB, 2)


def figures(samples: list[Sample], totals: dict[str, Any]) -> dict[str, Any]:
    names = ("input", "ok", "dropped", "quarantined", "seconds", "images_per_s", "workers_replaced")
    return {
        **{name: totals[name] for name in names},
        "peak_mb": {what: round(max(getattr(sample, what) for sample in samples) / MB) for what in KINDS},
        "growth_mb_in_1000_images": {what: growth(samples, what) for what in KINDS},
    }


def plot(samples: list[Sample], path: Path) -> None:
    """Plots memory over time as SVG, one line each for parent, largest worker and all workers."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    seconds = [sample.seconds for sample in samples]
    for what in KINDS:
        axes.plot(seconds, [getattr(sample, what) / MB for sample in samples], label=what.replace("_", " "))
    axes.set(xlabel="seconds", ylabel="MB resident", ylim=(0, None))
    axes.grid(axis="y", color="#e5e5e5")
    axes.legend(ncols=len(KINDS), frameon=False)
    figure.savefig(path)


def run(options: argparse.Namespace) -> tuple[list[Sample], dict[str, Any]]:
    out, totals = options.folder / "labels", options.folder / "totals.json"
    if out.exists():
        sys.exit(f"{out}: already exists, and resuming a run measures nothing; remove it")
    sources = sorted(str(path) for path in (options.folder / "images").iterdir())
    command = [sys.executable, "-m", "ovocr", "build-labels", *sources, "--out", str(out), "--json", str(totals)]
    for option in ("workers", "worker_images", "worker_memory"):
        if (value := getattr(options, option)) is not None:
            command += [f"--{option.replace('_', '-')}", str(value)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True) as process:
        samples = list(watch(process, out, options.interval))
    if process.returncode:
        sys.exit(f"build-labels ended with {process.returncode}")
    return samples, json.loads(totals.read_text())


def write(folder: Path, samples: list[Sample], result: dict[str, Any]) -> None:
    with (folder / "memory.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, list(vars(samples[0])), lineterminator="\n")
        rows.writeheader()
        rows.writerows(vars(sample) for sample in samples)
    plot(samples, folder / "memory.svg")
    (folder / "soak.json").write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--side", type=int, default=500, help="maximum length of the longer side, in pixels")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--worker-images", type=int)
    parser.add_argument("--worker-memory", metavar="SIZE")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument(
        "--max-growth",
        type=float,
        metavar="MB",
        help="maximum growth per thousand images of the parent and of the largest worker",
    )
    options = parser.parse_args()
    make_images(options.folder / "images", options.images, options.side)
    samples, totals = run(options)
    result = figures(samples, totals)
    write(options.folder, samples, result)
    print(re.sub(r'[{}",]', "", json.dumps(result, indent=1)))
    if totals["input"] != options.images or totals["quarantined"]:
        sys.exit(f"{options.images} images were made, {totals['input']} read, {totals['quarantined']} quarantined")
    grown = max(result["growth_mb_in_1000_images"][what] for what in ("parent", "largest_worker"))
    if options.max_growth is not None and grown > options.max_growth:
        sys.exit(f"memory grew by {grown} MB in 1,000 images")


if __name__ == "__main__":
    main()
