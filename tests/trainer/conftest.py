"""Small labelled data sets, made on the fly; Triton's kernels are interpreted where there is no CUDA device."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ovocr.dataset import LabelledDataSet
from ovocr.recordio import RecordWriter

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel's module is first imported

WORDS = [f"word{number}" for number in range(50)]


@pytest.fixture(params=["torch", "triton"])
def implementation(request: pytest.FixtureRequest) -> str:
    """Each implementation of the head and its optimizers."""
    if request.param == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
    return request.param


def write_data_set(
    root: Path,
    shard_sizes: Sequence[int],
    *,
    tags: int = 10,
    words: Sequence[str] = WORDS,
    finished: int | None = None,
    first_colour: int = 0,
    patterned: bool = False,
) -> Path:
    """A data set whose n-th record is a 40x24 picture of one grey level, (first_colour + 3 n) % 256.

    With ``patterned`` it is a mosaic of 15 random colours instead: a normalising network cannot tell greys apart.
    Its tags are n, n + 1, ... modulo the number of words; only the first ``finished`` shards are done (None: all).
    """
    data_set = LabelledDataSet(root)
    number = 0
    for shard, size in enumerate(shard_sizes):
        rows = []
        with RecordWriter(data_set.rec_prefix(shard)) as writer:
            for record in range(size):
                picture = np.full((24, 40, 3), (first_colour + 3 * number) % 256, np.uint8)
                if patterned:
                    colours = np.random.default_rng(number).integers(0, 256, (3, 5, 3), np.uint8)
                    picture = np.kron(colours, np.ones((8, 8, 1), np.uint8))
                encoded, data = cv2.imencode(".jpg", picture)
                assert encoded
                labels = (number + np.arange(tags)) % len(words)
                writer.write(record, labels.astype(np.float32), data.tobytes())
                rows.append({"tags": [{"id": int(label)} for label in labels]})
                number += 1
        data_set.records_path(shard).parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), data_set.records_path(shard))
        if finished is None or shard < finished:
            data_set.stats_path(shard).parent.mkdir(exist_ok=True)
            data_set.stats_path(shard).write_text(json.dumps({"ok": size}))
    data_set.vocabulary_path.write_text("".join(f"{word}\n" for word in words))
    data_set.manifest_path.write_text(json.dumps({"shards": [f"source{n}.tar" for n in range(len(shard_sizes))]}))
    return root


@pytest.fixture
def make_data_set(tmp_path: Path) -> Callable[..., Path]:
    """``make_data_set("name", [3, 2])`` writes a data set of two shards below tmp_path; see write_data_set."""
    return lambda name, shard_sizes, **options: write_data_set(tmp_path / name, shard_sizes, **options)


@pytest.fixture
def config_file(tmp_path: Path, make_data_set: Callable[..., Path]) -> Path:
    """A tiny run's configuration: 50 words, 24 pictures in two shards, 12 steps of 6."""
    data = make_data_set("labels", [17, 7], patterned=True)
    path = tmp_path / "config.toml"
    path.write_text(
        f"""
[run]
output = "{tmp_path / "run"}"
steps = 12
checkpoint_every = 4
log_every = 5
device = "cpu"

[backbone]
hidden_size = 64
intermediate_size = 96
num_hidden_layers = 2
num_attention_heads = 2
image_size = 32
patch_size = 16

[optimizer]
lr = 1e-3
warmup_steps = 2

[heads.ocr]
data = ["{data}"]
global_batch = 6
labels_stored = 10
labels_per_sample = 4
sample_rate = 0.3
lr_scale = 50.0
"""
    )
    return path
