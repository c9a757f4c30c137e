"""Seconds and memory to open data sets for training, in every rank, and to start its loader processes.

    python benchmarks/opening.py DIR [--heads 3] [--workers 0 8] [--small DIR] [--json FILE]

Each measurement runs in a process of its own: it opens DIR as the data of --heads heads of kind ocr and loads one batch
of each head with this many loader processes. ``open_s`` is the time to open, ``open_mb`` the growth of the process's
resident memory, ``worker_mb`` the private memory of a loader process (USS), and ``pickled_mb`` what a loader process
that is not forked receives. With --small, the same is measured for a small data set, for comparison. The first
measurement is made with an empty cache folder, the following ones with the folder that the first one filled.
"""

import argparse
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_BATCH = 64


def status(pid: int | str, field: str) -> int:
    """Returns a value of /proc/PID/smaps_rollup in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measure(root: Path, heads: int, workers: int) -> dict[str, Any]:
    """Opens the data in this process and loads a batch of each head."""
    import torch

    from ovocr.trainer.config.heads import OcrHeadConfig
    from ovocr.trainer.config.sections import LoaderConfig
    from ovocr.trainer.data.head_data import HeadData
    from ovocr.trainer.ranks.distributed import Ranks

    settings = OcrHeadConfig(kind="ocr", data=[root], global_batch=_BATCH)
    before, start = status("self", "Rss"), time.perf_counter()
    opened = [HeadData.open(f"h{i}", settings, image_size=64, passes=1, seed=i) for i in range(heads)]
    seconds, memory = time.perf_counter() - start, status("self", "Rss") - before
    batches = [
        data.batches(Ranks(), range(workers or 1), LoaderConfig(workers=workers), torch.device("cpu"))
        for data in opened
    ]
    start = time.perf_counter()
    for own in batches:
        for _ in range(workers or 1):
            next(own)
    first = time.perf_counter() - start
    fields = ("Private_Clean", "Private_Dirty")
    private = [sum(status(child.pid or 0, field) for field in fields) for child in multiprocessing.active_children()]
    return {
        "open_s": round(seconds, 2),
        "open_mb": round(memory / 1e6, 1),
        "first_batch_s": round(first, 2),
        "rss_mb": round(status("self", "Rss") / 1e6, 1),
        "worker_mb": round(max(private, default=0) / 1e6, 1),
        "pickled_mb": round(sum(len(pickle.dumps(data.samples)) for data in opened) / 1e6, 2),
        "records": sum(len(data.samples) for data in opened),
    }


def measured_apart(root: Path, heads: int, workers: int, cache: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, str(root), "--heads", str(heads), "--workers", str(workers), "--own"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 8], help="loader processes per head")
    parser.add_argument("--small", type=Path, help="a small data set, for comparison")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--own", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.own:
        print(json.dumps(measure(options.root, options.heads, *options.workers)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cases = [("large, first", options.root, options.workers[0])]
        cases += [("large", options.root, workers) for workers in options.workers]
        cases += [("small", options.small, workers) for workers in options.workers if options.small]
        for name, root, workers in cases:
            rows.append(
                {"data": name, "workers": workers, **measured_apart(root, options.heads, workers, Path(folder))}
            )
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
