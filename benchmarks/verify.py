"""Speed of `ovocr verify` compared with `ovocr build-labels`, and the cost of hashing a shard's files.

    python benchmarks/verify.py SOURCE... [--workers N] [--copies N] [--json FILE]

The data set is labelled once. Then each shard is copied --copies times, because verifying a few images takes less time
than the start of the command. Seconds are wall time of whole commands; cpu_s is the CPU time of their processes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from relabel import grow

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription


def run(name: str, images: str, *arguments: str) -> dict[str, Any]:
    """Runs a whole command and returns its times. images: key of the number of images in its JSON."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "ovocr", *arguments, "--json", "-"], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _row(name, json.loads(done.stdout)[images], seconds, cpu)


def hash_files(name: str, data_set: LabelledDataSet) -> dict[str, Any]:
    """Reads and hashes all files, as the writer of a shard does at its end, and returns the times."""
    start, cpu = time.perf_counter(), time.process_time()
    images = 0
    for number in data_set.finished_shards():
        images += data_set.counts(number).input
        for path in data_set.data_files(number, with_text=True).values():
            FileDescription.of(path)
    return _row(name, images, time.perf_counter() - start, time.process_time() - cpu)


def _row(name: str, images: int, seconds: float, cpu: float) -> dict[str, Any]:
    ms = 1000 * cpu / images
    return {
        "name": name,
        "images": images,
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu, 2),
        "cpu_ms": round(ms, 3),
    }


def measure(sources: list[str], workers: int, copies: int, folder: Path) -> list[dict[str, Any]]:
    labels, grown = folder / "labels", folder / "grown"
    shared = ["--workers", str(workers)]
    results = [run("build-labels", "input", "build-labels", *sources, "--out", str(labels), *shared)]
    grow(LabelledDataSet(labels), grown, copies)
    results.append(run(f"verify, {copies} copies", "images", "verify", str(grown), *shared))
    results.append(run(f"verify --quick, {copies} copies", "images", "verify", str(grown), "--quick", *shared))
    results.append(hash_files(f"hashes of the files, {copies} copies", LabelledDataSet(grown)))
    for result in results:
        result["part"] = round(result["cpu_ms"] / results[0]["cpu_ms"], 5)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.sources, options.workers, options.copies, Path(folder))
    print(f"{'':<44}{'images':>8}{'s':>9}{'cpu s':>9}{'cpu ms/image':>14}{'of labelling':>14}")
    for result in results:
        print("{name:<44}{images:>8}{seconds:>9.2f}{cpu_s:>9.2f}{cpu_ms:>14.3f}{part:>14.3%}".format(**result))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
