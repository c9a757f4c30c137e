"""Whole runs with order = "blocks": a killed run resumes with the same samples on another number of ranks."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.file import load_config
from ovocr.trainer.data.block_order import BlockOrder, Blocks
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.metrics import sample_digest

BLOCKS = ("heads.ocr.order=blocks", "heads.ocr.block_records=2", "heads.ocr.window_blocks=3")
SAMPLES, BATCH = 41, 6


@pytest.fixture
def longer_epochs(config_file: Path, make_data_set: Callable[..., Path]) -> Path:
    """Returns the file of a run whose epochs of 41 samples never end with a step in the first 41 steps."""
    make_data_set("labels", [17, 24], patterned=True)
    return config_file


def test_a_killed_run_goes_on_with_the_same_samples_on_two_ranks(
    longer_epochs: Path, tmp_path: Path, runs: Any
) -> None:
    steps = (*BLOCKS, "run.steps=40")
    runs.finish(longer_epochs, *steps, f"run.output={tmp_path / 'whole'}")
    killed = runs.start(longer_epochs, *steps, "loader.workers=2")
    runs.wait_for_checkpoints(tmp_path / "run", 2, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert "(from step " in runs.finish(longer_epochs, *steps, "loader.workers=1", ranks=2)
    runs.assert_same_metrics(tmp_path / "run", tmp_path / "whole", 1e-3)

    order = BlockOrder(SAMPLES, 0, Blocks(batch=BATCH, records=2, window=3))
    ids = order.samples_at(np.arange(40 * BATCH))
    digests = [sample_digest([ids[step * BATCH : (step + 1) * BATCH]]) for step in range(40)]
    assert [line["sample_ids"] for line in runs.metrics(tmp_path / "run")] == digests
    assert (np.bincount(ids[: 5 * SAMPLES], minlength=SAMPLES) == 5).all()


def test_passes_and_weights_have_blocks_too(longer_epochs: Path, tmp_path: Path, runs: Any) -> None:
    more = f'heads.ocr.data=["{tmp_path / "labels"}", "{tmp_path / "labels"}"]'
    settings = (*BLOCKS, more, "heads.ocr.mixing_weights=[2, 1]", "run.passes_per_step=2")
    runs.finish(longer_epochs, *settings)
    runs.finish(longer_epochs, *settings, f"run.output={tmp_path / 'two'}", ranks=2)
    runs.assert_same_metrics(tmp_path / "two", tmp_path / "run", 1e-3)


def test_another_order_is_another_run(longer_epochs: Path) -> None:
    train(load_config(longer_epochs, ["run.steps=2"]))
    with pytest.raises(OvocrError, match=r"different configuration \(heads\.ocr\.order was random, is now blocks\)"):
        train(load_config(longer_epochs, ["run.steps=2", "heads.ocr.order=blocks"]))
