"""Compares batches of the DALI loader with samples of our own loader. Runs in the environment of DALI.

dali_loader_side.py DATA_SET RESULT.json      RESULT: labels and pixel differences of all samples, and an error message
"""

import json
import sys
from pathlib import Path

import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.dali_loader import dali_batches
from ovocr.trainer.data.records import RecordSamples


def main(root: str, target: str) -> None:
    samples = RecordSamples([root], labels_stored=10, num_classes=50, image_size=32)
    common = {"seed": 3, "threads": 1, "device": torch.device("cpu")}
    found, differences = [], []
    for batch in dali_batches(samples, batch=4, rank=0, world=1, passes=range(6), **common):
        for pixels, labels in zip(batch.pixels, batch.labels.tolist(), strict=True):
            own = samples.load(labels[0])  # the first label of a record is its number
            found.append(labels)
            differences.append((pixels.float() - torch.from_numpy(own.pixels).float()).abs().mean().item())
    halves = [
        [label for batch in dali_batches(samples, batch=3, rank=rank, world=2, passes=range(2), **common)
         for label in batch.labels[:, 0].tolist()]
        for rank in (0, 1)
    ]  # fmt: skip
    error = ""
    path = Path(root, "rec", "00000.rec")
    path.write_bytes(path.read_bytes().replace(b"\xff\xd8\xff", b"GIF", 1))
    try:
        list(dali_batches(samples, batch=4, rank=0, world=1, passes=range(6), **common))
    except OvocrError as caught:
        error = str(caught)
    Path(target).write_text(json.dumps({"labels": found, "differences": differences, "halves": halves, "error": error}))


if __name__ == "__main__":
    main(*sys.argv[1:])
