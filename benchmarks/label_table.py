"""Time and memory that `ovocr pack-labels` needs for a table of class ids: synthetic tables of each kind.

    python benchmarks/label_table.py FOLDER --rows 20000000 --kinds .parquet

The tables stay in FOLDER. Each is loaded in its own process, and the script prints the process's peak and final memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ovocr.labelgen.options import MAX_CLASSES
from ovocr.labelgen.tables import LabelTable

IDS = 10  # a key
CLASSES = 1_000_000
LOOKUPS = 20_000
_PIECE = 500_000


def pieces(rows: int) -> Iterator[tuple[pa.Array, np.ndarray]]:
    """Yields keys such as train/part-271/image_2718393.jpg in random order, with ids [rows, IDS]."""
    random = np.random.default_rng(0)
    order = random.permutation(rows)
    for start in range(0, rows, _PIECE):
        numbers = pa.array(order[start : start + _PIECE])
        folder, name = (pc.cast(part, pa.string()) for part in (pc.divide(numbers, 10_000), numbers))
        keys = pc.binary_join_element_wise("train/part-", folder, "/image_", name, ".jpg", "")
        yield keys, random.integers(0, CLASSES, (len(numbers), IDS))


def make(path: Path, rows: int) -> None:
    if path.suffix == ".parquet":
        schema = pa.schema([("key", pa.string()), ("labels", pa.list_(pa.int64()))])
        with pq.ParquetWriter(path, schema) as writer:
            for keys, ids in pieces(rows):
                offsets = pa.array(np.arange(0, ids.size + 1, IDS, dtype=np.int32))
                lists = pa.ListArray.from_arrays(offsets, pa.array(ids.ravel()))
                writer.write_table(pa.table([keys, lists], schema=schema))
        return
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("key,labels\n")
        for keys, ids in pieces(rows):
            for key, own in zip(keys.to_pylist(), ids.tolist(), strict=True):
                if path.suffix == ".csv":
                    file.write(f"{key},{' '.join(map(str, own))}\n")
                else:
                    file.write(json.dumps({"key": key, "labels": own}) + "\n")


def load(path: Path) -> None:
    start, before = time.monotonic(), time.process_time()
    table = LabelTable.load(str(path), key_column=None, label_columns=(), num_classes=None, limit=MAX_CLASSES)
    seconds, busy = time.monotonic() - start, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resting = int(status["VmRSS"].split()[0]) / 2**20
    keys = next(pieces(table.keys.count([])[0]))[0].to_pylist()[:LOOKUPS]
    before = time.process_time()
    found = sum(len(table.ids(key)) for key in keys)
    each = (time.process_time() - before) / len(keys) * 1e6
    assert found > 9 * len(keys)
    print(
        f"{path.name}: read in {seconds:.1f} s ({busy:.1f} s of processor time), peak {peak:.2f} GiB, "
        f"then {resting:.2f} GiB; {each:.0f} us per lookup"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", default=[".parquet", ".csv", ".jsonl"])
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for kind in arguments.kinds:
        path = arguments.folder / f"{arguments.rows}{kind}"
        if not path.exists():
            make(path, arguments.rows)
        subprocess.run([sys.executable, __file__, str(arguments.folder), "--load", str(path)], check=True)


if __name__ == "__main__":
    main()
