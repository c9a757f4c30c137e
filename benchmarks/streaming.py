"""Images per second of the loader from an object store, beside a local disk.

    python benchmarks/large_data_set.py /tmp/stream --shards 8 --records 500 --side 448 --copies
    python benchmarks/streaming.py /tmp/stream/labels [--workers 2] [--json FILE]

The store is moto's server on this machine, behind benchmarks/slow_store.py: without latency, with 50 ms for each
request, and with 50 ms and 5% failures (500, 503, a connection cut in the middle of the body). Each row loads one epoch
with order = "blocks", twice and each time with an empty cache of blocks: once as fast as possible, and once for a model
that takes --share of the images/s that the disk gives.

- images/s: of the first of the two, without the first batch.
- first batch: seconds to open the data set and load the first batch.
- waited: seconds that the model of the second one waits after its first batch, and their share of the time.
- fetched / used: bytes of the blocks that are fetched, over the bytes of the records in the epoch.
- requests, failed: requests for records at the proxy; those that it let fail. retries: attempts that failed although
  the store's client had repeated the request by itself.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from slow_store import slow_store

_MOTO = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""
_CASES = {
    "store, no latency": (0.0, 0.0),
    "store, 50 ms": (0.05, 0.0),
    "store, 50 ms, 5% failures": (0.05, 0.05),
}


@contextmanager
def moto() -> Iterator[str]:
    """Runs an S3 endpoint in another process during the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def upload(root: Path, endpoint: str) -> None:
    """Copies a data set to the bucket."""
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="bench")
    for path in sorted(root.rglob("*")):
        if path.is_file():
            client.put_object(Bucket="bench", Key=f"labels/{path.relative_to(root).as_posix()}", Body=path.read_bytes())


def load(data: str, workers: int, rate: float) -> dict[str, Any]:
    """Loads an epoch in this process. rate: images/s of the model; 0 for no model."""
    import torch

    from ovocr.trainer.config.heads import OcrHeadConfig
    from ovocr.trainer.config.sections import LoaderConfig
    from ovocr.trainer.data.head_data import HeadData
    from ovocr.trainer.ranks.distributed import Ranks

    settings = OcrHeadConfig(data=[data], global_batch=32, order="blocks", block_records=64, window_blocks=16)
    loader = LoaderConfig(workers=workers)
    start = time.perf_counter()
    opened = HeadData.open("ocr", settings, image_size=224, passes=1, seed=0, loader=loader)
    steps = range(len(opened.samples) // opened.pass_batch)
    waited, images, fetched = 0.0, 0, np.zeros(4)
    batches = opened.batches(Ranks(), steps, loader, torch.device("cpu"))
    for step in steps:
        began = time.perf_counter()
        batch = next(batches)
        if step == 0:
            first = time.perf_counter() - start
            measured = time.perf_counter()
        else:
            waited += time.perf_counter() - began
            images += len(batch.pixels)
        fetched += batch.fetched
        if rate:
            time.sleep(len(batch.pixels) / rate)
    seconds = time.perf_counter() - measured
    batches.close()
    return {
        "images_per_s": round(images / seconds, 1),
        "first_batch_s": round(first, 2),
        "waited_s": round(waited, 2),
        "waited_share": round(waited / seconds, 3),
        "fetched_bytes": int(fetched[0]),
        "retries": int(fetched[2]),
    }


def load_apart(data: str, workers: int, rate: float, environment: dict[str, str]) -> dict[str, Any]:
    """Loads an epoch in another process, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, __file__, data, "--workers", str(workers), "--own", str(rate)],
            env={**os.environ, **environment, "XDG_CACHE_HOME": cache},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.7, help="of the disk's images/s that the model takes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--own", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.own is not None:
        print(json.dumps(load(options.root, options.workers, options.own)))
        return
    used = sum(path.stat().st_size for path in Path(options.root).glob("rec/*.rec"))
    disk = load_apart(options.root, options.workers, 0, {})
    rate = options.share * disk["images_per_s"]
    rows = [{"data": "disk", **disk, "paced": load_apart(options.root, options.workers, rate, {})}]
    print(json.dumps(rows[-1]), flush=True)
    keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(keys)
    with moto() as endpoint:
        upload(Path(options.root), endpoint)
        for name, (latency, failures) in _CASES.items():
            with slow_store(endpoint, latency=latency, failures=failures) as proxy:
                environment = {**keys, "AWS_ENDPOINT_URL": proxy.url}
                row = load_apart("s3://bench/labels", options.workers, 0, environment)
                tried = [request for request in proxy.requests if request.path.endswith(".rec")]
                paced = load_apart("s3://bench/labels", options.workers, rate, environment)
            row["fetched_over_used"] = round(row["fetched_bytes"] / used, 3)
            row |= {"requests": len(tried), "failed": sum(bool(request.failure) for request in tried)}
            rows.append({"data": name, **row, "paced": paced})
            print(json.dumps(rows[-1]), flush=True)
    print("\n| data | images/s | first batch | waited | fetched / used | requests | failed | retries |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        paced = row["paced"]
        counts = [row.get(name, "") for name in ("fetched_over_used", "requests", "failed")]
        retries = row["retries"] + paced["retries"]
        waited = f"{paced['waited_s']:.1f} s, {100 * paced['waited_share']:.1f}%"
        cells = [row["data"], row["images_per_s"], f"{row['first_batch_s']:.1f} s", waited, *counts, retries]
        print(f"| {' | '.join(map(str, cells))} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
