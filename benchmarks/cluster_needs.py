"""What training at a given speed asks of nodes, network and storage: arithmetic on measured parts.

    python benchmarks/cluster_needs.py [--gpus 8 64] [--images-per-s 200] [--record-kb 60] [--json FILE]

The measured parts are options, so that you can replace them by what your machines do: images that a core loads per
second (benchmarks/loader.py), records that a process reads per second (cold_reads.py), bytes of a loader process
(opening.py). Everything else follows. Nothing is run.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

GPUS_PER_NODE = 8
WINDOW_RECORDS = 512 * 256  # window_blocks times block_records
BLOCK_RECORDS = 256
IMAGES = 30_000_000


def needs(gpus: int, options: argparse.Namespace) -> dict[str, str]:
    """Returns the needs of a run on this many GPUs by name."""
    nodes = math.ceil(gpus / GPUS_PER_NODE)
    images = gpus * options.images_per_s
    per_node = images / nodes
    record = 1000 * options.record_kb
    window = WINDOW_RECORDS * record
    batch = options.batch * 3 * options.side**2
    workers = math.ceil(options.images_per_s / options.crops_per_core)
    loaders = min(gpus, GPUS_PER_NODE) * workers * (options.worker_mb * 1e6 + options.prefetch * batch)
    return {
        "nodes": f"{nodes}",
        "images/s": f"{images:,.0f}",
        "time of an epoch of 30 million": f"{IMAGES / images / 3600:.1f} h",
        "records read, all nodes": f"{images * record / 1e6:,.0f} MB/s",
        "records read, per node": f"{per_node * record / 1e6:,.0f} MB/s, {per_node * record * 8 / 1e9:.1f} Gbit/s",
        "reads in random order, all nodes": f"{images:,.0f} per s",
        "requests in blocks, all nodes": f"{images / BLOCK_RECORDS:.1f} per s of {BLOCK_RECORDS * record / 1e6:.0f} MB",
        "cores that load whole images, per node": f"{per_node / options.whole_per_core:.0f}",
        "cores that load text crops, per node": f"{per_node / options.crops_per_core:.0f}",
        "cores that load large text crops, per node": f"{per_node / options.large_crops_per_core:.0f}",
        "loader processes per GPU (text crops)": f"{workers}",
        "memory of loader processes, per node": f"{loaders / 1e9:.0f} GB",
        "records of the window, per node": f"{window / nodes / 1e9:.1f} GB",
        "cache folder, offsets, per node": f"{8 * IMAGES / 1e9:.2f} GB",
        "cache folder, places of tags, per node": f"{24 * IMAGES * options.places / 1e9:.0f} GB",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--images-per-s", type=float, default=200.0, help="of a GPU")
    parser.add_argument("--record-kb", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=128, help="images of a rank in a pass")
    parser.add_argument("--side", type=int, default=448, help="side of the input, in pixels")
    parser.add_argument("--prefetch", type=int, default=2, help="loader.prefetch")
    parser.add_argument("--whole-per-core", type=float, default=207.0, help="whole images that a core loads per second")
    parser.add_argument("--crops-per-core", type=float, default=168.0, help="text crops that a core loads per second")
    parser.add_argument("--large-crops-per-core", type=float, default=118.0, help="the same, of large text")
    parser.add_argument("--places", type=float, default=67.0, help="places of tags per image, 24 bytes each")
    parser.add_argument("--worker-mb", type=float, default=17.0, help="private memory of a loader process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    columns: list[dict[str, Any]] = [needs(gpus, options) for gpus in options.gpus]
    print("| | " + " | ".join(f"{gpus} GPUs" for gpus in options.gpus) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
    if options.json:
        options.json.write_text(json.dumps(dict(zip(options.gpus, columns, strict=True)), indent=2) + "\n")


if __name__ == "__main__":
    main()
