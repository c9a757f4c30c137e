"""Images per second from .rec shards to letterboxed batches: ovocr, DALI on the CPU, and a plain DataLoader.

    python benchmarks/loader.py DATA_SET --dali-python .venv-dali/bin/python --mxnet-python .venv-mxnet/bin/python

The plain loader is torch's DataLoader over mxnet's MXIndexedRecordIO; OpenCV decodes and letterboxes each image at full
size. The loaders alternate, each in its own process, with the same number of worker processes (DALI:
threads). A round is a fixed number of seconds of batches, without the start of workers.

With --before CHECKOUT, the same sides of an older checkout of this repository take part, and their rates are compared
with those of this one.

    python benchmarks/loader.py --run RUN      prints the share of time that a training run waited for its data
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

BEFORE = "before: "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_set", nargs="?", help="folder of a labelled data set")
    parser.add_argument("--dali-python", help="Python with DALI and the trainer's dependencies")
    parser.add_argument("--mxnet-python", help="Python with mxnet 1.9.1, torch and opencv")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="older checkout to compare with")
    parser.add_argument("--size", type=int, default=224, help="side of the images, in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round")
    parser.add_argument("--run", type=Path, help="training run: only print how long it waited for data")
    options = parser.parse_args()
    if options.run is not None:
        report_waiting(options.run)
        return
    if options.data_set is None:
        parser.error("DATA_SET is missing")
    own = ("ovocr", "ovocr, crops", "ovocr, text crops", "ovocr, large text crops")
    pythons = dict.fromkeys(own, sys.executable)
    if options.before:
        pythons |= {f"{BEFORE}{side}": sys.executable for side in ("ovocr", "ovocr, crops")}
    if options.dali_python:
        pythons["DALI, CPU"] = options.dali_python
    if options.mxnet_python:
        pythons["DataLoader over mxnet"] = options.mxnet_python
    rates: dict[str, list[float]] = {side: [] for side in pythons}
    for number in range(options.rounds):
        order = list(pythons) if number % 2 else list(reversed(pythons))
        for side in order:
            rates[side].append(measure(side, pythons[side], options))
    print(f"{platform.machine()}, {options.workers} workers, {options.size} pixels, batches of {options.batch}")
    print("\n| | images/s, median (lowest to highest) | of ovocr's, median | lowest round |")
    print("|---|---|---|---|")
    for side, found in rates.items():
        ratios = [rate / ours for rate, ours in zip(found, rates["ovocr"], strict=True)]
        print(
            f"| {side} | {statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f}) "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} |"
        )


def measure(side: str, python: str, options: argparse.Namespace) -> float:
    """Returns images per second of one round."""
    settings = {name: getattr(options, name) for name in ("data_set", "size", "batch", "workers", "seconds")}
    checkout = options.before.resolve() if side.startswith(BEFORE) else Path(__file__).resolve().parents[1]
    settings["data_set"] = str(Path(settings["data_set"]).resolve())
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    script = str(checkout / "benchmarks" / "loader_sides.py")
    done = subprocess.run(
        [python, "-W", "ignore", script, side.removeprefix(BEFORE), json.dumps(settings)],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def report_waiting(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = lines[1:]  # the first step waits for workers to start
    config = (run / "config.toml").read_text(encoding="utf-8")
    batches = sum(int(line.split("=")[1].split("#")[0]) for line in config.splitlines() if "global_batch" in line)
    seconds = sum(batches / line["images_per_s"] for line in steps)
    waited = sum(line["data_wait_s"] for line in steps)
    print(f"{len(steps)} steps in {seconds:.1f} s, {waited:.2f} s of them waiting for data: {waited / seconds:.2%}")


if __name__ == "__main__":
    main()
