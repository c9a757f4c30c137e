"""Records per second from a disk whose data are not in memory: in random order and in blocks.

    python benchmarks/cold_reads.py DIR [--seconds 20] [--batch 256] [--workers 1 8] [--window 64] [--json FILE]

DIR is a data set whose shards have files of their own (benchmarks/large_data_set.py --copies), larger than what the
disk caches by itself. Before each measurement the page cache of its .rec files is dropped (posix_fadvise). Then
--workers processes read batches of records in the order of training for --seconds, without decoding images:

- one by one, as the loader did before it read ahead;
- ahead: as the loader does. The records of a batch are requested together, and in the order "blocks" the blocks of the
  next window too.

read_mb_s is what the disk delivered (/proc/self/io; 0 for file systems that do not count it), used_mb_s the bytes of
the images. The order "blocks" has windows of --window blocks of 256 records.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from ovocr.dataset.access.record_blocks import BLOCK_RECORDS
from ovocr.trainer.data.block_order import Blocks
from ovocr.trainer.data.mixing import SampleOrder, make_order
from ovocr.trainer.data.records import RecordSamples


def drop_cache(root: Path) -> None:
    for path in sorted(root.glob("rec/*.rec")):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


class Batches(Dataset[tuple[int, int]]):
    """Map-style data set: maps the number of a batch to the bytes of its images, and the bytes read from disk so far.

    passes_ahead: number of batches that are announced in advance; None to read one record after the other.
    """

    def __init__(self, samples: RecordSamples, order: SampleOrder, batch: int, passes_ahead: int | None) -> None:
        self._samples, self._order, self._batch, self._ahead = samples, order, batch, passes_ahead
        self._announced = 0

    def __getitem__(self, number: int) -> tuple[int, int]:
        ids = self._order.samples_at(np.arange(number * self._batch, (number + 1) * self._batch)).tolist()
        if self._ahead is not None:
            self._samples.prefetch(ids)
            start, end = max(self._announced, number + 1), number + 1 + self._ahead
            if end > start:
                self._samples.read_ahead(self._order.samples_at(np.arange(start * self._batch, end * self._batch)))
                self._announced = end
        return sum(len(self._samples[index][0]) for index in ids), _bytes_read()


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


def measure(
    root: Path, name: str, samples: RecordSamples, batches: Batches, batch: int, workers: int, seconds: float
) -> dict[str, Any]:
    drop_cache(root)
    loader = DataLoader(batches, batch_size=None, sampler=range(2**31), num_workers=workers, prefetch_factor=2)
    start = time.perf_counter()
    count = used = 0
    disk: dict[int, int] = {}
    for number, (size, so_far) in enumerate(loader):
        count, used = count + 1, used + size
        disk[number % workers] = so_far  # batches come from the processes in turn
        if (passed := time.perf_counter() - start) >= seconds:
            break
    samples.close()
    return {
        "order": name,
        "workers": workers,
        "records_per_s": round(count * batch / passed),
        "used_mb_s": round(used / passed / 1e6, 1),
        "read_mb_s": round(sum(disk.values()) / passed / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--window", type=int, default=64, help="blocks of a window")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    samples = RecordSamples([options.root], labels_stored=100, num_classes=2**24, with_places=False)
    blocks = Blocks(options.batch, BLOCK_RECORDS, options.window)
    window = blocks.window_records // options.batch
    orders = {
        "random": (make_order(samples.parts, None, 0), 0),
        "blocks": (make_order(samples.parts, None, 0, blocks), window),
    }
    rows = []
    for workers in options.workers:
        for name, (order, ahead) in orders.items():
            for passes_ahead in (None, ahead):
                batches = Batches(samples, order, options.batch, passes_ahead)
                kind = f"{name}, one by one" if passes_ahead is None else f"{name}, ahead"
                rows.append(measure(options.root, kind, samples, batches, options.batch, workers, options.seconds))
                print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
