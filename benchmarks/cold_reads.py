"""Records per second from a disk whose data are not in memory: in random order and in blocks.

    python benchmarks/cold_reads.py DIR [--seconds 20] [--batch 256] [--workers 1 8] [--json FILE]

DIR is a data set whose shards have files of their own (benchmarks/large_data_set.py --copies), larger than what the
disk caches by itself. Before each measurement the page cache of its .rec files is dropped (posix_fadvise). Then
--workers processes read batches of records in the order of training for --seconds, without decoding images: with
``prefetch`` (as the loader does) and without. read_mb_s is what the disk delivered (/proc/self/io), used_mb_s the bytes
of the records.
"""

import argparse
import json
import multiprocessing
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ovocr.trainer.data.mixing import SampleOrder, make_order
from ovocr.trainer.data.records import RecordSamples


def drop_cache(root: Path) -> None:
    for path in sorted(root.glob("rec/*.rec")):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read(samples: RecordSamples, order: SampleOrder, batch: int, seconds: float, prefetch: bool, rank: range) -> Any:
    """Reads the batches with the numbers in ``rank``; returns records, bytes used, bytes read, seconds."""
    before, start = _bytes_read(), time.perf_counter()
    records = used = 0
    number = rank.start
    while time.perf_counter() - start < seconds:
        ids = order.samples_at(np.arange(number * batch, (number + 1) * batch)).tolist()
        if prefetch:
            samples.prefetch(ids)
        for index in ids:
            used += len(samples[index][0])
        records += batch
        number += rank.step
    return records, used, _bytes_read() - before, time.perf_counter() - start


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


def measure(root: Path, name: str, order: SampleOrder, samples: RecordSamples, **settings: Any) -> dict[str, Any]:
    workers = settings.pop("workers")
    drop_cache(root)
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        ranks = [range(worker, 2**62, workers) for worker in range(workers)]
        results = pool.map(partial(read, samples, order, *settings.values()), ranks)
    records, used, read_bytes = (sum(result[part] for result in results) for part in range(3))
    seconds = max(result[3] for result in results)
    return {
        "order": name,
        "workers": workers,
        "prefetch": settings["prefetch"],
        "records_per_s": round(records / seconds),
        "used_mb_s": round(used / seconds / 1e6, 1),
        "read_mb_s": round(read_bytes / seconds / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    samples = RecordSamples([options.root], labels_stored=100, num_classes=2**24, with_places=False)
    orders = {"random": make_order(samples.parts, None, 0)}
    rows = []
    for workers in options.workers:
        for name, order in orders.items():
            for prefetch in (False, True):
                settings = {"batch": options.batch, "seconds": options.seconds, "prefetch": prefetch}
                rows.append(measure(options.root, name, order, samples, workers=workers, **settings))
                print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
