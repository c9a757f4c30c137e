"""Small data sets, videos and training runs. Triton's kernels are interpreted if there is no CUDA device."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel module is first imported

WORDS = [f"word{number}" for number in range(50)]


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    """Restores torch's number of threads, which a training run in this process changes for all later tests."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["torch", "triton"])
def implementation(request: pytest.FixtureRequest) -> str:
    """Runs the test with each implementation of the head and its optimizers."""
    if request.param == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
    return request.param


def write_data_set(
    root: Path,
    shard_sizes: Sequence[int],
    *,
    tags: int = 10,
    words: Sequence[str] | None = WORDS,
    num_classes: int = 50,
    finished: int | None = None,
    first_colour: int = 0,
    patterned: bool = False,
) -> Path:
    """Writes a data set whose n-th record is a 40x24 image of one grey level, (first_colour + 3 n) % 256.

    The tags of record n are n, n + 1, ... modulo the number of classes.

    Args:
        tags: slots per record. All tags of a labelled record stand in one line, 12 pixels high.
        words: the vocabulary. None: a packed data set of ``num_classes`` classes.
        finished: number of finished shards. None: all.
        patterned: images are mosaics of 15 random colours. A normalising network cannot tell greys apart.
    """
    data_set = LabelledDataSet(root)
    classes = num_classes if words is None else len(words)
    number = 0
    for shard, size in enumerate(shard_sizes):
        entry = ShardEntry(source=f"source{shard}.tar", kind="tar")
        with ShardWriter(data_set, shard, entry, with_text=words is not None) as writer:
            for record in range(size):
                image = np.full((24, 40, 3), (first_colour + 3 * number) % 256, np.uint8)
                if patterned:
                    colours = np.random.default_rng(number).integers(0, 256, (3, 5, 3), np.uint8)
                    image = np.kron(colours, np.ones((8, 8, 1), np.uint8))
                encoded, data = cv2.imencode(".jpg", image)
                assert encoded
                labels = ((number + np.arange(tags)) % classes).tolist()
                box = (0.0, 0.0, 40.0, 0.0, 40.0, 12.0, 0.0, 12.0)
                has_text = words is not None
                outcome = Outcome(
                    status=Status.OK,
                    jpeg=data.tobytes(),
                    width=40,
                    height=24,
                    lines=[Line("line", 0.9, box, (0.0, 1.0))] if has_text else [],
                    places=[Place(label, 0, box) if has_text else Place(label) for label in dict.fromkeys(labels)],
                    slots=labels,
                )
                writer.add(f"{record}.jpg", outcome)
                number += 1
        if finished is not None and shard >= finished:
            data_set.stats_path(shard).unlink()
    vocabulary = None if words is None else Vocabulary(words)
    if words is not None:
        data_set.vocabulary_path.write_text("".join(f"{word}\n" for word in words))
    sources = [f"source{n}.tar" for n in range(len(shard_sizes))]
    make_manifest(sources, vocabulary=vocabulary, num_classes=num_classes).write(data_set.manifest_path)
    return root


@pytest.fixture
def make_data_set(tmp_path: Path) -> Callable[..., Path]:
    """Returns write_data_set below tmp_path, as in make_data_set("name", [3, 2]) for a data set of two shards."""
    return lambda name, shard_sizes, **options: write_data_set(tmp_path / name, shard_sizes, **options)


def numbered_frame(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns an image [H, W, 3] whose eight bars show the bits of its number, the lowest on the left."""
    width, height = size
    bits = number >> (np.arange(width) * 8 // width) & 1
    return np.broadcast_to((20 + 200 * bits).astype(np.uint8)[None, :, None], (height, width, 3)).copy()


def write_video(
    path: Path,
    frames: int = 64,
    *,
    size: tuple[int, int] = (64, 48),
    fps: int = 25,
    codec: str = "libx264",
    key_every: int = 12,
    times_ms: Iterable[int] | None = None,
    options: dict[str, str] | None = None,
    paint: Callable[[int, tuple[int, int]], NDArray[np.uint8]] = numbered_frame,
) -> Path:
    """Writes a video whose frames show their numbers. The suffix of the path selects the container.

    Args:
        size: width and height.
        key_every: maximum distance of key frames, in frames.
        times_ms: presentation time of each frame, instead of ``frames`` at ``fps``.
        options: the encoder's options.
        paint: function that returns the frame for a number and a size.
    """
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = key_every
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(range(frames) if times_ms is None else times_ms):
            frame = av.VideoFrame.from_ndarray(paint(number, size), format="rgb24")
            frame.pts = time
            frame.time_base = stream.codec_context.time_base if times_ms is not None else Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Returns write_video below tmp_path, as in make_video("clips/a.mp4", frames=64, size=(64, 48), fps=25)."""
    return lambda name, **options: write_video(tmp_path / name, **options)


def write_run_config(root: Path) -> Path:
    """Writes the configuration of a tiny run: 50 words, 24 images in two shards, 12 steps of 6 images."""
    data = write_data_set(root / "labels", [17, 7], patterned=True)
    path = root / "config.toml"
    path.write_text(
        f"""
[run]
output = "{root / "run"}"
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


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """Returns the file that write_run_config writes below tmp_path."""
    return write_run_config(tmp_path)


class Runs:
    """Starts `ovocr train` as a user does and reads the metrics of runs. Each rank has one thread."""

    @staticmethod
    def start(config: Path, *settings: str, ranks: int = 1, extend: bool = False) -> "subprocess.Popen[str]":
        """Starts a run. settings: section.key=value. Standard output and errors are pipes."""
        options = [part for setting in settings for part in ("--set", setting)] + ["--extend"] * extend
        return subprocess.Popen(
            [sys.executable, "-m", "ovocr", "train", str(config), *options, "--nproc-per-node", str(ranks)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def finish(config: Path, *settings: str, ranks: int = 1, extend: bool = False) -> str:
        """Runs to the end and returns the standard output."""
        process = Runs.start(config, *settings, ranks=ranks, extend=extend)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return output

    @staticmethod
    def wait_for_checkpoints(run: Path, count: int, process: "subprocess.Popen[str]") -> None:
        """Waits until the run has this many complete checkpoints."""
        deadline = time.monotonic() + 200
        while len(complete_checkpoints(run / "checkpoints")) < count:
            assert process.poll() is None, f"the run ended: {process.communicate()[1]}"
            assert time.monotonic() < deadline, f"fewer than {count} checkpoints"
            time.sleep(0.005)

    @staticmethod
    def rank_process(launcher: "subprocess.Popen[str]", rank: int) -> int:
        """Returns the process id of a rank of a launched run."""
        wanted = f"RANK={rank}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == launcher.pid and wanted in (folder / "environ").read_bytes().split(b"\0"):
                    return int(folder.name)
            except OSError:
                continue
        raise AssertionError(f"no rank {rank} below process {launcher.pid}")

    @staticmethod
    def metrics(run: Path) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl."""
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

    @staticmethod
    def assert_same_metrics(found: Path, wanted: Path, tolerance: float) -> None:
        """Asserts that two runs have the same samples in every step and equal losses and gradient norms."""
        found_lines, wanted_lines = Runs.metrics(found), Runs.metrics(wanted)
        for key in ("step", "sample_ids", "lr"):
            assert [line[key] for line in found_lines] == [line[key] for line in wanted_lines], key

        def numbers(line: dict[str, Any]) -> list[float]:
            heads = [line["heads"][name][key] for name in line["heads"] for key in ("loss", "grad_norm")]
            return [line["loss"], line["grad_norm"], *heads]

        for one, other in zip(found_lines, wanted_lines, strict=True):
            assert numbers(one) == pytest.approx(numbers(other), rel=tolerance), one["step"]


@pytest.fixture
def runs() -> type[Runs]:
    """Returns an object that starts training runs and compares their metrics."""
    return Runs
