"""loader.kind = "dali": the samples of our own loader in DALI's order, and whole runs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.conftest import write_data_set

pytestmark = pytest.mark.interop


def test_dali_yields_every_sample_once_per_epoch_with_the_pixels_of_our_loader(
    tmp_path: Path, dali_loader_side: Callable[..., None]
) -> None:
    root = write_data_set(
        tmp_path / "set", [7, 0, 5], patterned=True
    )  # a shard without records between two shards with records
    dali_loader_side(root, tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    numbers = [labels[0] for labels in result["labels"]]
    assert sorted(numbers[:12]) == sorted(numbers[12:]) == list(range(12))
    assert numbers[:12] != numbers[12:]
    assert result["labels"] == [[(number + i) % 50 for i in range(10)] for number in numbers]
    assert max(result["differences"]) < 3  # levels of 255: two resizers
    assert sorted(result["halves"][0] + result["halves"][1]) == list(range(12))
    assert result["error"].startswith('loader "dali": ')


def test_a_run_with_dali_trains_and_resumes(tmp_path: Path, dali_python: str) -> None:
    root = write_data_set(tmp_path / "set", [7, 5], patterned=True)
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
[run]
output = "{tmp_path / "run"}"
steps = 6
checkpoint_every = 3
device = "cpu"
[tracking]
trackers = []
[backbone]
hidden_size = 64
intermediate_size = 96
num_hidden_layers = 1
num_attention_heads = 2
image_size = 32
patch_size = 16
[optimizer]
lr = 1e-3
warmup_steps = 2
[loader]
kind = "dali"
[heads.ocr]
data = ["{root}"]
global_batch = 6
labels_stored = 10
labels_per_sample = 4
"""
    )
    command = [dali_python, "-m", "ovocr", "train", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert 'loader "dali": images are not cropped' in done.stderr
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "00000006")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(6))


def test_missing_dali_names_the_install_command(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['nvidia.dali'] = None\n"
        "from ovocr.trainer.data.dali_loader import dali_batches\n"
        "dali_batches(None, batch=1, rank=0, world=1, passes=range(1), seed=0, threads=1, device=None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        'loader.kind = "dali" needs packages that are not installed; '
        "install the extra \"dali\": pip install '.[dali]' in a checkout of ovocr"
    ) in done.stderr
