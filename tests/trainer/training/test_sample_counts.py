"""Counts of the sampled classes in checkpoints: equal to a count over the samples of the run, or zero for old ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.read import read_words
from ovocr.trainer.evaluation.reading.image_words import Reading
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.heads.sampling import draw_slots
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import load_checkpoint, read_state, save_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import Model, Optimizers, TrainedRun, build_model, build_optimizers

CPU = torch.device("cpu")
SOFT_ALL = ["heads.ocr.objective=soft", "heads.ocr.labels_per_sample=all"]
SETTINGS = {
    "independent slots": [],
    "shared slots": ["heads.ocr.sampling=shared"],
    "two_sided": ["heads.ocr.objective=two_sided", "run.passes_per_step=2"],
    "soft all": SOFT_ALL,
}


def counts_of(run: Path) -> tuple[list[int], int]:
    """Returns the counts of the newest checkpoint: by class, and the number of samples."""
    counts = TrainedRun.load(run, CPU).model.heads["ocr"].sample_counts
    assert counts is not None
    return counts.positives.tolist(), int(counts.samples)


def expected_counts(config: RunConfig, first: int = 0) -> tuple[list[int], int]:
    """Counts the classes that are positives, pass by pass, with sets. The tags of record n are n .. n + 9, of 50."""
    head, passes = config.heads["ocr"], config.run.passes_per_step
    data = HeadData.open("ocr", head, image_size=32, passes=passes, seed=0)
    counts, samples = np.zeros(50, np.int64), 0
    for number in range(first * passes, config.run.steps * passes):
        labels = (data.pass_samples(number)[:, None] + np.arange(10)) % 50
        if head.labels_per_sample != "all":
            slots = draw_slots(*labels.shape, head.labels_per_sample, seed=0, step=number, device=CPU)
            labels = np.take_along_axis(labels, slots.numpy(), 1)
        is_shared = head.sampling == "shared" or head.objective != "slots"
        for column in labels.reshape(1, -1) if is_shared else labels.T:
            counts[list(set(column.tolist()))] += 1
            samples += 1
    return counts.tolist(), samples


@pytest.mark.parametrize("name", SETTINGS)
def test_counts_are_those_of_the_samples(config_file: Path, tmp_path: Path, name: str) -> None:
    config = load_config(config_file, SETTINGS[name])
    train(config)
    counts, samples = counts_of(tmp_path / "run")
    assert (counts, samples) == expected_counts(config)
    sums_per_step = {"independent slots": 4, "two_sided": 2}
    assert samples == 12 * sums_per_step.get(name, 1)
    assert 0 < max(counts[:33]) <= samples  # the tags of 24 images
    assert max(counts[33:]) == 0


@pytest.mark.parametrize("name", ["independent slots", "soft all"])
def test_counts_on_several_ranks_and_after_an_interruption(
    config_file: Path, tmp_path: Path, runs: Any, name: str
) -> None:
    runs.finish(config_file, *SETTINGS[name], ranks=2)
    config = load_config(config_file, SETTINGS[name])
    assert counts_of(tmp_path / "run") == expected_counts(config)
    for step in (8, 12):
        shutil.rmtree(RunFolder(tmp_path / "run").checkpoint(step))
    assert train(config).first_step == 4
    assert counts_of(tmp_path / "run") == expected_counts(config)


@pytest.mark.parametrize("setting", ["heads.ocr.negative_weight=importance", "heads.ocr.sample_rate=1.0"])
def test_heads_without_bias_do_not_count(config_file: Path, tmp_path: Path, setting: str) -> None:
    train(load_config(config_file, [setting, "run.steps=2"]))
    head = TrainedRun.load(tmp_path / "run", CPU).model.heads["ocr"]
    assert head.sample_counts is None
    assert head.ranking_correction() is None
    saved = {"heads.ocr.sample_counts.samples": torch.zeros((), dtype=torch.int64)}
    with pytest.raises(OvocrError, match="the checkpoint has no heads.ocr.sample_counts.samples$"):
        load_checkpoint(RunFolder(tmp_path / "run").checkpoint(2), saved, Ranks())


def remove_counts(config: RunConfig, step: int) -> None:
    """Writes a checkpoint again as an earlier version did, without counts."""
    checkpoint = RunFolder(config.run.output).checkpoint(step)
    model: Model = build_model(config, {"ocr": 50}, Ranks(), CPU)
    optimizers: Optimizers = build_optimizers(config, model)
    tensors = {
        name: value
        for name, value in (model.tensors() | optimizers.tensors(model)).items()
        if "sample_counts" not in name
    }
    load_checkpoint(checkpoint, tensors, Ranks())
    state = read_state(checkpoint)
    shutil.rmtree(checkpoint)
    save_checkpoint(checkpoint, tensors, state, Ranks())


def test_checkpoint_of_an_earlier_version(config_file: Path, tmp_path: Path) -> None:
    config, run = load_config(config_file, ["run.checkpoint_every=6"]), tmp_path / "run"
    train(config)
    whole = (run / "metrics.jsonl").read_text()
    for step in (6, 12):
        remove_counts(config, step)
    assert counts_of(run) == ([0] * 50, 0)
    assert evaluate(run, [tmp_path / "labels"], top_k=[5]).step == 12
    (tmp_path / "image.jpg").write_bytes(b"no image")
    (reading,) = read_words(run, [tmp_path / "image.jpg"])
    assert not isinstance(reading, Reading)
    assert export_encoder(run, tmp_path / "exported").step == 12
    shutil.rmtree(RunFolder(run).checkpoint(12))
    assert train(config).first_step == 6
    assert counts_of(run) == expected_counts(config, first=6)  # of the steps that were counted
    losses = [
        [json.loads(line)["loss"] for line in text.splitlines()]
        for text in (whole, (run / "metrics.jsonl").read_text())
    ]
    assert losses[0] == losses[1]


def test_init_from_does_not_carry_counts(config_file: Path, tmp_path: Path) -> None:
    train(load_config(config_file))
    settings = [f"heads.ocr.init_from={tmp_path / 'run'}", f"run.output={tmp_path / 'next'}", "run.steps=2"]
    config = load_config(config_file, settings)
    train(config)
    assert counts_of(tmp_path / "next") == expected_counts(config)
    remove_counts(load_config(config_file), 12)
    shutil.rmtree(tmp_path / "next")
    train(config)
    assert counts_of(tmp_path / "next") == expected_counts(config)
