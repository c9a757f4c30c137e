"""The statistics of embedding_norm in checkpoints and evaluations are those of the current weights."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import LoaderConfig
from ovocr.trainer.data.images import normalise
from ovocr.trainer.heads.embedding_norm import EmbeddingNorm
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.training import embedding_statistics
from ovocr.trainer.training.embedding_statistics import EmbeddingStatistics
from ovocr.trainer.training.evaluation_result import EvaluationResult
from ovocr.trainer.training.evaluator import Evaluator
from ovocr.trainer.training.loop import open_data, train
from ovocr.trainer.training.model import Model, TrainedRun, build_model
from ovocr.trainer.training.step import TrainStep
from tests.trainer.damage import damage_images

CPU = torch.device("cpu")
# Each position has its own crop, so the statistics show which steps they are from.
SETTINGS = (
    "heads.ocr.embedding_norm=batch",
    "heads.ocr.crop_scale=[0.1,0.5]",
    "heads.ocr.crop_min_visible=0.05",
    "run.passes_per_step=2",
    "tracking.trackers=[]",
    "run.keep_checkpoints=20",
    "optimizer.lr=3e-3",
)


@pytest.fixture
def five_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures on the last five steps of six images."""
    monkeypatch.setattr(embedding_statistics, "_SAMPLES", 25)


@pytest.fixture
def evaluated(config_file: Path, tmp_path: Path, make_data_set: Callable[..., Path]) -> tuple[str, ...]:
    """Returns settings of a run that is evaluated after 5, 10 and 12 steps."""
    held_out = make_data_set("held", [12], patterned=True, first_colour=1)
    return (*SETTINGS, f'evaluation.data=["{held_out}"]', "evaluation.every=5", "evaluation.replicates=10")


def statistics_of(model: Model) -> tuple[Tensor, Tensor]:
    norm = model.heads["ocr"].embedding_norm
    assert norm is not None
    return norm.running_mean.clone(), norm.running_variance.clone()


def saved_statistics(run: Path, step: int | None = None) -> tuple[Tensor, Tensor]:
    return statistics_of(TrainedRun.load(run, CPU, step).model)


def computed_statistics(run: Path, step: int, first: int) -> tuple[Tensor, Tensor]:
    """Returns mean and variance of the samples of steps first to step - 1 with the weights after ``step`` steps."""
    trained = TrainedRun.load(run, CPU, step)
    batches = open_data(trained.config)["ocr"].batches(Ranks(), range(first, step), LoaderConfig(), CPU)
    with torch.no_grad():
        pooled = torch.cat([trained.model.backbone(normalise(batch.pixels))[1] for batch in batches])
    return pooled.mean(0), pooled.var(0, correction=0)


def assert_equal(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], tolerance: float = 0.0) -> None:
    """Asserts that means and variances are equal; tolerance: in deviations and, of variances, relative."""
    deviation = (found[0] - wanted[0]).abs() / wanted[1].sqrt()
    assert deviation.max() <= tolerance
    assert (found[1] / wanted[1] - 1).abs().max() <= tolerance


def test_checkpoints_have_the_statistics_of_their_weights(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Any
) -> None:
    """The average over the steps is off by more than half a deviation in some channels, with the same weights."""
    monkeypatch.setattr(embedding_statistics, "_SAMPLES", 100)
    lasting = ("optimizer.lr=0.01", "optimizer.decay_power=0.0", "run.passes_per_step=1", "run.steps=16")
    settings = [*SETTINGS, *lasting, "heads.ocr.global_batch=24"]
    train(load_config(config_file, settings))
    average = tmp_path / "average"
    monkeypatch.setattr(EmbeddingStatistics, "measure", lambda self, done: None)
    train(load_config(config_file, [*settings, f"run.output={average}"]))
    runs.assert_same_metrics(average, tmp_path / "run", 0)
    for step, first in ((4, 0), (8, 3), (12, 7), (16, 11)):
        mean, variance = computed_statistics(average, step, first)
        assert_equal(saved_statistics(tmp_path / "run", step), (mean, variance), 1e-4)
        if step > 4:
            assert ((saved_statistics(average, step)[0] - mean).abs() / variance.sqrt()).max() > 0.5


@pytest.mark.parametrize(("ranks", "parallel", "batch"), [(2, "fsdp2", 65), (3, "ddp", 2)])
def test_ranks_measure_together(
    config_file: Path, tmp_path: Path, runs: Any, ranks: int, parallel: str, batch: int
) -> None:
    """65 images are a batch of the backbone more on one rank; of 2 images, a rank has none. 512 of 65 are 8 steps."""
    own = (f"heads.ocr.global_batch={batch}", "run.passes_per_step=1", "run.steps=10", "run.checkpoint_every=5")
    settings = [*SETTINGS, *own, "loader.workers=1", "optimizer.lr=1e-4"]
    runs.finish(config_file, *settings, f"run.backbone_parallel={parallel}", ranks=ranks)
    run = tmp_path / "run"
    for step, first in ((5, 0), (10, 2 if batch == 65 else 0)):
        assert_equal(saved_statistics(run, step), computed_statistics(run, step, first), 1e-4)
    train(load_config(config_file, [*settings, f"run.output={tmp_path / 'one'}"]))
    assert_equal(saved_statistics(run, 5), saved_statistics(tmp_path / "one", 5), 0.02)
    runs.assert_same_metrics(run, tmp_path / "one", 2e-3)


@pytest.mark.usefixtures("five_steps")
def test_stopped_run_has_the_statistics_of_a_whole_run(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saves other steps than the whole run, one of them because of the stop."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(load_config(config_file, [*SETTINGS, f"run.output={whole}"]))
    config, run_step = load_config(config_file, [*SETTINGS, "run.checkpoint_every=5"]), TrainStep.__call__

    def stop_later(self: TrainStep, step: int, *arguments: Any, **options: Any) -> Any:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return run_step(self, step, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "__call__", stop_later)
        with pytest.raises(OvocrError, match="^stopped; "):
            train(config)
    assert_equal(saved_statistics(run), computed_statistics(run, 7, 2), 1e-4)
    assert train(config).first_step == 7
    assert_equal(saved_statistics(run, 12), saved_statistics(whole, 12))


@pytest.mark.usefixtures("five_steps")
def test_evaluations_use_the_statistics_and_do_not_change_the_run(
    config_file: Path, tmp_path: Path, evaluated: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, runs: Any
) -> None:
    """The evaluation after 5 steps, which are not saved, is that of a run that saves them."""
    used, evaluate_all = [], Evaluator.evaluate

    def evaluate(self: Evaluator, model: Model, *arguments: Any) -> EvaluationResult | None:
        used.append(statistics_of(model))
        return evaluate_all(self, model, *arguments)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    train(load_config(config_file, [*evaluated, "run.checkpoint_every=12"]))
    plain = tmp_path / "plain"
    train(load_config(config_file, [*SETTINGS, f"run.output={plain}", "run.checkpoint_every=5"]))
    runs.assert_same_metrics(tmp_path / "run", plain, 0)
    for step, found in zip((5, 10, 12), used, strict=True):
        assert_equal(found, saved_statistics(plain, step))


@pytest.mark.usefixtures("five_steps")
def test_measured_once_for_checkpoint_and_evaluation(
    config_file: Path, tmp_path: Path, evaluated: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head without embedding_norm is not measured."""
    replaced = []
    monkeypatch.setattr(EmbeddingNorm, "set_statistics", lambda *arguments: replaced.append(arguments))
    train(load_config(config_file, evaluated))
    assert len(replaced) == 5  # after 4, 5, 8, 10 and 12 steps
    pooled = Model.pooled
    calls: list[int] = []
    monkeypatch.setattr(Model, "pooled", lambda *arguments: calls.append(0) or pooled(*arguments))
    other = ["heads.ocr.embedding_norm=none", "evaluation.every=0", f"run.output={tmp_path / 'plain'}"]
    train(load_config(config_file, [*evaluated, *other]))
    assert not calls


@pytest.mark.usefixtures("five_steps")
def test_measuring_takes_no_time_of_a_step(config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, measure = [0.0], EmbeddingStatistics.measure

    def measure_for_an_hour(self: EmbeddingStatistics, done: int) -> None:
        measure(self, done)
        clock[0] += 3600

    monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + clock[0])
    monkeypatch.setattr(EmbeddingStatistics, "measure", measure_for_an_hour)
    train(load_config(config_file, SETTINGS))
    assert clock == [3 * 3600]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert min(line["images_per_s"] for line in lines) > 6 / 1800
    assert max(line["data_wait_s"] for line in lines) < 1800


@pytest.mark.usefixtures("five_steps")
def test_damaged_samples_are_replaced_and_reported_once(config_file: Path, tmp_path: Path) -> None:
    damage_images(tmp_path / "labels", 4)
    train(load_config(config_file, [*SETTINGS, "loader.max_skipped=1"]))
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    named = (run / "skipped.jsonl").read_text().splitlines()
    assert sum(line["skipped"] for line in lines) == len(named) == 3  # 12 steps of 6 images over 24 images
    assert_equal(saved_statistics(run), computed_statistics(run, 12, 7), 1e-4)


@pytest.mark.usefixtures("five_steps")
@pytest.mark.parametrize("kind", ["torch", "dali"])
def test_worker_processes_end_with_the_pass(config_file: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Also after an error. DALI is not needed, because it cannot read given samples."""
    config = load_config(config_file, [*SETTINGS, "loader.workers=2"])
    data, model = open_data(config), build_model(config, {"ocr": 50}, Ranks(), CPU)
    loader = config.loader.model_copy(update={"kind": kind})
    statistics = EmbeddingStatistics(model, data, loader, Ranks(), CPU)
    statistics.measure(3)
    assert multiprocessing.active_children() == []
    mean, _ = statistics_of(model)
    assert mean.abs().max() > 1e-3
    assert all(module.training for module in model.backbone.modules())

    def fail(*arguments: Any) -> Tensor:
        raise OvocrError(f"{len(multiprocessing.active_children())} processes")

    monkeypatch.setattr(Model, "pooled", fail)
    with pytest.raises(OvocrError, match="^2 processes$") as caught:
        statistics.measure(4)
    assert multiprocessing.active_children() == []
    assert caught.tb is not None  # its frames keep the generator of the batches alive
