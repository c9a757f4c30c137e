"""Loads shards with NVIDIA DALI: nvJPEG decodes on a GPU, images are letterboxed as usual, in an unknown order.

DALI gives no access to samples by number. Therefore there are no tag-aware crops and no sample ids, the order depends
on the number of ranks, and a resumed run draws a new order.
"""

import importlib
import os
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.dlpack import from_dlpack

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.trainer.data.images import GROUND_RGB
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.data.records import RecordSamples

NOTICE = (
    'loader "dali": images are not cropped, and a resumed run does not continue with the same samples; '
    'loader.kind = "torch" has tag-aware crops and resumes exactly'
)
# Size of the buffer from which DALI draws the next record.
_SHUFFLED = 4096


def dali_batches(
    samples: RecordSamples,
    *,
    batch: int,
    rank: int,
    world: int,
    passes: range,
    seed: int,
    threads: int,
    device: torch.device,
) -> Generator[Batch, None, None]:
    """Yields batches of ``batch`` samples for these passes: pixels on ``device``, sample ids -1.

    rank, world: DALI's shard_id and num_shards; DALI reads this part of the records first, then the next part.
    threads: number of decoding threads.
    seed: seed of the order, combined with the first pass.

    Raises MissingExtraError if DALI is not installed, and OvocrError for a record that DALI cannot read or decode.
    """
    try:
        importlib.import_module("nvidia.dali")
    except ImportError as error:
        raise MissingExtraError('loader.kind = "dali"', "dali") from error
    if rank == 0:
        print(f"ovocr: {NOTICE}", file=sys.stderr, flush=True)
    part = _Part(batch=batch, rank=rank, world=world, seed=(seed + passes.start) % 2**31)
    return _batches(samples, part, len(passes), threads, device)


class _Part(NamedTuple):
    """The records that a pipeline reads, and the seed of their order."""

    batch: int
    rank: int
    world: int
    seed: int


def _batches(
    samples: RecordSamples, part: _Part, passes: int, threads: int, device: torch.device
) -> Generator[Batch, None, None]:
    with tempfile.TemporaryDirectory(prefix="ovocr-dali-") as folder:
        try:
            records, index = _one_index(samples, Path(folder) / "all.idx")
            pipeline = _pipeline(records, index, samples.image_size, part, threads, device)
            pipeline.build()
            for _ in range(passes):
                pixels, labels = pipeline.run()
                yield Batch(
                    from_dlpack(pixels.as_tensor()).clone(),  # DALI reuses the memory
                    torch.from_numpy(samples.select_labels(np.array(labels.as_cpu().as_array()))),
                    torch.full((len(labels),), -1),
                )
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()]
            reason = next((line for line in lines if line.startswith(("Assert", "Error", "[", "nv"))), lines[0])
            raise OvocrError(f'loader "dali": {reason}') from error


def _one_index(samples: RecordSamples, path: Path) -> tuple[list[str], Path]:
    """Writes one index of all .rec files to ``path``, because DALI reads them as one; returns both."""
    records, start, number = [], 0, 0
    with path.open("w", encoding="ascii") as file:
        for name, offsets in samples.rec_files():
            records.append(name)
            for offset in offsets.tolist():
                file.write(f"{number}\t{start + offset}\n")
                number += 1
            start += os.path.getsize(name)
    return records, path


def _pipeline(records: Sequence[str], index: Path, size: int, part: _Part, threads: int, device: torch.device) -> Any:
    from nvidia.dali import Pipeline, fn, types

    on_gpu = device.type == "cuda"
    pipeline = Pipeline(
        batch_size=part.batch,
        num_threads=threads,
        device_id=(device.index or 0) if on_gpu else None,
        seed=part.seed,
        prefetch_queue_depth=2,
    )
    with pipeline:
        encoded, labels = fn.readers.mxnet(
            path=list(records),
            index_path=[str(index)],
            random_shuffle=True,
            initial_fill=_SHUFFLED,
            shard_id=part.rank,
            num_shards=part.world,
            name="records",
        )
        images = fn.decoders.image(encoded, device="mixed" if on_gpu else "cpu", output_type=types.RGB)
        whole = fn.resize(images, size=[size, size], mode="not_larger", antialias=True)
        square = fn.crop(
            whole,
            crop=(size, size),
            rounding="truncate",  # the smaller half of an odd margin is on top, as in letterbox()
            out_of_bounds_policy="pad",
            fill_values=[float(value) for value in GROUND_RGB],
        )
        pipeline.set_outputs(fn.transpose(square, perm=[2, 0, 1]), labels)
    return pipeline
