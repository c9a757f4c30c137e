"""Whole training runs with every tracker, offline, read back with the readers of the trackers."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovocr import __version__
from ovocr.trainer.config.file import load_config
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.trainer.training.loop import train
from tests.trainer.conftest import Runs

pytest.importorskip("wandb", reason="the extra wandb is not installed")
pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
pytest.importorskip("alembic", reason="the extra mlflow is not installed")


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a database of MLflow without runs, which takes seconds to create."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def offline(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tracks without a network: a database for MLflow, offline mode for Weights & Biases.

    Every connection to another machine would go through a proxy, which notices it.
    """
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        for name in ("NO_PROXY", "no_proxy", "CI", "GITHUB_ACTIONS", "WANDB_ERROR_REPORTING"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
        monkeypatch.setenv("WANDB_MODE", "offline")
        shutil.copy(empty_database, tmp_path / "mlflow.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
        yield
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.fixture
def tracked(config_file: Path) -> Path:
    """Returns the configuration of a run with all trackers and evaluations after 6 and 12 steps."""
    config_file.write_text(
        config_file.read_text().replace("log_every = 5", "log_every = 1\nkeep_checkpoints = 9")
        + f"""
[evaluation]
data = ["{config_file.parent / "labels"}"]
every = 6
min_text_height = 0.0

[tracking]
trackers = ["tensorboard", "wandb", "mlflow"]
project = "reading"
name = "first try"
group = "small"
tags = ["cpu", "tiny"]
"""
    )
    return config_file


def wandb_records(run: Path) -> list[dict[str, Any]]:
    """Returns all records that `wandb sync` would send, in its order."""
    records = []
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        records += [json.loads(line) for line in done.stdout.splitlines()]
    return records


def wandb_rows(run: Path) -> list[dict[str, Any]]:
    return [record["history"]["item"] for record in wandb_records(run) if record["type"] == "history"]


def wandb_exit_codes(run: Path) -> list[int]:
    return [record["exit"]["exit_code"] for record in wandb_records(run) if record["type"] == "exit"]


def wandb_curve(run: Path, name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in wandb_rows(run) if name in row]


def mlflow_run() -> Any:
    """Returns the only run of the database."""
    from mlflow import MlflowClient

    experiment = MlflowClient().get_experiment_by_name("reading")
    (found,) = MlflowClient().search_runs([experiment.experiment_id])
    return found


def mlflow_curve(name: str) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    return [(value.step, value.value) for value in MlflowClient().get_metric_history(mlflow_run().info.run_id, name)]


def tensorboard_curve(run: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(event.step, pytest.approx(event.value, rel=1e-6)) for event in events.Scalars(name)]


def curves(run: Path, name: str) -> list[list[tuple[int, float]]]:
    return [wandb_curve(run, name), mlflow_curve(name), tensorboard_curve(run, name)]


def lose_checkpoints_after(run: Path, step: int) -> None:
    for checkpoint in complete_checkpoints(run / "checkpoints"):
        if int(checkpoint.name) > step:
            shutil.rmtree(checkpoint)


def test_trackers_have_the_numbers_of_the_run(tracked: Path, tmp_path: Path) -> None:
    train(load_config(tracked))
    run = tmp_path / "run"
    lines = Runs.metrics(run)
    for name in ("loss", "lr", "grad_norm", "images_per_s", "data_wait_s", "memory_gb", "model_tflops_per_s"):
        for curve in curves(run, name):
            assert curve == [(line["step"], line[name]) for line in lines], name
    for name in ("loss", "positive_cosine", "negative_cosine", "grad_norm"):
        for curve in curves(run, f"heads/ocr/{name}"):
            assert curve == [(line["step"], line["heads"]["ocr"][name]) for line in lines], name
    evaluated = [(line["step"], line["evaluation_mean_word_auc"]) for line in lines if "evaluation" in line]
    assert [step for step, _ in evaluated] == [5, 11]
    for curve in curves(run, "evaluation/mean_word_auc"):
        assert curve == evaluated

    records = wandb_records(run)
    (started,) = (record["run"] for record in records if record["type"] == "run")
    assert (started["project"], started["display_name"], started["run_group"], started["tags"]) == (
        *("reading", "first try", "small"),
        ["cpu", "tiny"],
    )
    settings: dict[str, Any] = {}
    for record in records:
        if record["type"] == "config":
            settings |= record["config"]["update"]
    assert settings["heads"]["ocr"]["lr_scale"] == 50.0
    assert settings["heads"]["ocr"]["data"] == [str(tmp_path / "labels")]
    assert settings["versions"]["ovocr"] == __version__
    assert wandb_exit_codes(run) == [0]
    (x_axis,) = (record["metric"] for record in records if record.get("metric", {}).get("glob_name"))
    assert (x_axis["glob_name"], x_axis["step_metric"]) == ("*", "step")

    kept = mlflow_run()
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "first try")
    assert kept.data.params["heads.ocr.lr_scale"] == "50.0"
    assert kept.data.params["heads.ocr.data"] == f'["{tmp_path / "labels"}"]'
    assert kept.data.params["backbone.hidden_size"] == "64"
    tags = kept.data.tags
    assert (tags["group"], tags["cpu"], tags["tiny"], tags["versions.ovocr"]) == ("small", "true", "true", __version__)


def test_a_resumed_run_has_one_history(tracked: Path, tmp_path: Path) -> None:
    """Steps 4 to 11 run again, and other numbers are measured for them, such as images/s."""
    run = tmp_path / "run"
    train(load_config(tracked))
    first = Runs.metrics(run)
    lose_checkpoints_after(run, 4)
    summary = train(load_config(tracked, ["tracking.tags=[]", "run.log_every=2"]))
    assert summary.first_step == 4
    for name in ("loss", "images_per_s"):
        was = [(line["step"], line[name]) for line in first]
        assert wandb_curve(run, name) == was
        assert mlflow_curve(name) == was
    again = Runs.metrics(run)
    assert tensorboard_curve(run, "images_per_s") == [
        (line["step"], line["images_per_s"]) for line in again if line["step"] < 4 or line["step"] in (4, 6, 8, 10, 11)
    ]
    for curve in curves(run, "evaluation/mean_word_auc"):
        assert [step for step, _ in curve] == [5, 11]
    assert len({record["run"]["run_id"] for record in wandb_records(run) if record["type"] == "run"}) == 1
    assert mlflow_run().info.status == "FINISHED"
    assert mlflow_run().data.params["run.log_every"] == "1"  # a parameter cannot change


def test_an_evaluation_that_is_made_up_for_is_added(tracked: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(load_config(tracked, ["evaluation.every=0"]))
    lose_checkpoints_after(run, 8)
    summary = train(load_config(tracked, ["evaluation.every=8"]))
    assert summary.has_made_up
    for curve in curves(run, "evaluation/mean_word_auc"):
        assert [step for step, _ in curve] == [7, 11]
    rows = [row["_step"] for row in wandb_rows(run)]
    assert rows == sorted(set(rows))
    assert [step for step, _ in wandb_curve(run, "loss")] == list(range(12))


def test_a_run_without_a_checkpoint_starts_a_new_run(tracked: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    run = tmp_path / "run"
    train(load_config(tracked, ["run.steps=4"]))
    old = mlflow_run().info.run_id
    lose_checkpoints_after(run, 0)
    train(load_config(tracked, ["run.steps=4"]))
    ids = json.loads((run / "tracking.json").read_text())
    assert ids["mlflow"]["run"] != old
    for run_id in (old, ids["mlflow"]["run"]):
        history = MlflowClient().get_metric_history(run_id, "loss")
        assert [value.step for value in history] == [0, 1, 2, 3]
    assert len({record["run"]["run_id"] for record in wandb_records(run) if record["type"] == "run"}) == 2


def test_a_run_that_the_server_does_not_have_starts_anew(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(load_config(tracked))
    lose_checkpoints_after(tmp_path / "run", 8)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    train(load_config(tracked))
    assert [step for step, _ in mlflow_curve("loss")] == [8, 9, 10, 11]


def test_a_run_that_is_stopped_is_marked_and_continues(tracked: Path, tmp_path: Path) -> None:
    run, settings = tmp_path / "run", ("run.steps=2000", "evaluation.every=0", "optimizer.lr=1e-5")
    process = Runs.start(tracked, *settings)
    Runs.wait_for_checkpoints(run, 1, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert mlflow_run().info.status == "KILLED"
    assert wandb_exit_codes(run) == [1]
    steps = len(Runs.metrics(run))
    assert [step for step, _ in mlflow_curve("loss")] == [step for step, _ in wandb_curve(run, "loss")]
    assert len(mlflow_curve("loss")) == steps

    process = Runs.start(tracked, *settings)
    deadline = time.monotonic() + 200
    while len(Runs.metrics(run)) < steps + 20:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert mlflow_run().info.status == "RUNNING"
    process.kill()
    process.communicate()
    found = mlflow_curve("loss")
    lose_checkpoints_after(run, steps)
    process = Runs.start(tracked, *settings)
    while len(mlflow_curve("loss")) < len(found) + 5:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    curve = mlflow_curve("loss")
    assert [step for step, _ in curve] == list(range(len(Runs.metrics(run))))
    assert curve[: len(found)] == found
    steps_of_wandb = [step for step, _ in wandb_curve(run, "loss")]
    assert steps_of_wandb == sorted(set(steps_of_wandb))


def test_a_failed_run_is_marked(tracked: Path, tmp_path: Path) -> None:
    from ovocr.base.errors import OvocrError

    with pytest.raises(OvocrError, match="the loss is"):
        train(load_config(tracked, ["optimizer.lr=1e30", "optimizer.warmup_steps=0"]))
    assert mlflow_run().info.status == "FAILED"
    assert wandb_exit_codes(tmp_path / "run") == [1]


def test_only_the_first_rank_tracks(tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # MLflow sends no statistics from tests, whatever the settings
    Runs.finish(tracked, "run.steps=3", "evaluation.every=0", ranks=2)
    assert [step for step, _ in mlflow_curve("loss")] == [0, 1, 2]
    assert [step for step, _ in wandb_curve(tmp_path / "run", "loss")] == [0, 1, 2]
    assert len(list((tmp_path / "run").glob("wandb/offline-run-*"))) == 1
