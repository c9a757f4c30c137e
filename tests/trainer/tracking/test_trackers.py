"""Trackers together: missing packages, and errors that do not end a run."""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.cli import main
from ovocr.trainer.config.tracking import TrackingConfig
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.tracking import trackers as module
from ovocr.trainer.tracking.background import BackgroundTracker
from ovocr.trainer.tracking.record import TrackingRecord
from ovocr.trainer.tracking.tracker import Ending, TrackedRun
from ovocr.trainer.tracking.trackers import Trackers, check_trackers


class Broken:
    """A tracker that fails like a client without a network."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError(f"no network at step {step}\nand more text")

    def close(self, ending: Ending) -> None:
        raise OSError(28, "No space left on device")


class Silent:
    """A tracker whose server does not answer until ``answers`` is set."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.called = threading.Event()
        self.steps: list[int] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.called.set()
        self.answers.wait()
        self.steps.append(step)

    def close(self, ending: Ending) -> None:
        self.steps.append(-1)


def tracked(tmp_path: Path, *names: str, start: int = 0) -> TrackedRun:
    config = TrackingConfig(trackers=names)
    (tmp_path / "run").mkdir(exist_ok=True)
    return TrackedRun(RunFolder(tmp_path / "run"), start, config, {"run": {"steps": 3}}, {"ovocr": "1"})


def test_errors_are_reported_once_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    trackers = Trackers([BackgroundTracker("broken", Broken())])
    for step in range(3):
        trackers.log(step, {"loss": 1.0})
    trackers.close(Ending.FINISHED)
    assert capsys.readouterr().err.splitlines() == [
        "tracker broken: ConnectionError: no network at step 0 and more text; training goes on, and metrics.jsonl has "
        "all numbers",
        "tracker broken: failed 4 times",
    ]


def test_a_silent_server_delays_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Silent()
    trackers = Trackers([BackgroundTracker("silent", silent, waiting=2, close_s=0.05)])
    trackers.log(0, {"loss": 1.0})
    assert silent.called.wait(60)
    for step in range(1, 5):  # steps 1 and 2 wait
        trackers.log(step, {"loss": 1.0})
    trackers.close(Ending.FINISHED)
    silent.answers.set()
    assert capsys.readouterr().err.splitlines() == [
        "tracker silent: does not answer, and 2 calls wait already; training goes on, and metrics.jsonl has all "
        "numbers",
        "tracker silent: failed 3 times",
    ]


def test_close_waits_for_all_calls() -> None:
    silent = Silent()
    tracker = BackgroundTracker("silent", silent, waiting=4)
    for step in range(4):
        tracker.log(step, {"loss": 1.0})
    threading.Timer(0.05, silent.answers.set).start()
    tracker.close(Ending.FINISHED)
    assert silent.steps == [0, 1, 2, 3, -1]


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--nproc-per-node", "2"]], ids=str)
def test_a_missing_package_is_found_before_anything_starts(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: str, option: list[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    setting = f'tracking.trackers=["{tracker}"]'
    result = CliRunner().invoke(main, ["train", str(config_file), "--set", setting, *option])
    assert result.exit_code == 2
    assert result.output.splitlines() == [
        f"ovocr: tracking.trackers: {tracker} needs packages that are not installed; "
        f"install the extra \"{tracker}\": pip install '.[{tracker}]' in a checkout of ovocr"
    ]
    assert not (tmp_path / "run").exists()


def test_a_folder_of_this_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights & Biases makes a folder wandb where a program starts, and Python imports folders."""
    (tmp_path / "not_installed").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(module._MODULES, "wandb", ("not_installed", "wandb"))
    with pytest.raises(MissingExtraError, match="wandb needs packages"):
        check_trackers(TrackingConfig(trackers=("wandb",)))
    check_trackers(TrackingConfig(trackers=("tensorboard",)))


def test_packages_are_imported_when_they_are_used() -> None:
    program = (
        "import sys; from ovocr.trainer.tracking import trackers; from ovocr.trainer.training import loop;"
        "print({'wandb', 'mlflow', 'tensorboard'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_tracker_that_does_not_start_ends_a_new_run_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def open_tracker(name: str, run: TrackedRun, record: TrackingRecord) -> Silent:
        if name == "mlflow":
            raise ConnectionError("no route to host")
        opened.append(name)
        silent = Silent()
        silent.answers.set()
        return silent

    monkeypatch.setattr(module, "_open", open_tracker)
    with pytest.raises(
        OvocrError, match=r"^tracking\.trackers: mlflow does not start: ConnectionError: no route to host$"
    ):
        Trackers.open(tracked(tmp_path, "wandb", "mlflow"))
    assert opened == ["wandb"]
    Trackers.open(tracked(tmp_path, "mlflow", "wandb", start=3)).close(Ending.FINISHED)
    assert opened == ["wandb", "wandb"]
    assert capsys.readouterr().err == (
        "tracker mlflow: does not continue: ConnectionError: no route to host; training goes on, and metrics.jsonl "
        "has all numbers\n"
    )


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tracked(tmp_path, "tensorboard")
    run.folder.tensorboard.write_text("a file where the folder should be")
    with pytest.raises(OvocrError, match=r"^tracking\.trackers: tensorboard does not start: FileExistsError"):
        Trackers.open(run)
    Trackers.open(tracked(tmp_path, "tensorboard", start=2)).log(3, {"loss": 1.0})
    assert "tracker tensorboard: does not continue: FileExistsError" in capsys.readouterr().err


def test_the_record_survives_a_restart_and_not_a_new_run(tmp_path: Path) -> None:
    path = tmp_path / "tracking.json"
    record = TrackingRecord(path, is_new=True)
    assert (record.run_id("wandb"), record.last_step("wandb", "loss")) == (None, -1)
    record.start_run("wandb", "abc")
    record.add_step("wandb", "loss", 4)
    record.add_step("wandb", "evaluation/seconds", 3)
    again = TrackingRecord(path, is_new=False)
    assert again.run_id("wandb") == "abc"
    assert [again.last_step("wandb", name) for name in ("loss", "evaluation/seconds", "other", None)] == [4, 3, -1, 4]
    assert TrackingRecord(path, is_new=True).run_id("wandb") is None
    assert not path.exists()


@pytest.mark.parametrize("text", ["{", json.dumps(["wandb"]), json.dumps({"wandb": "abc"})])
def test_a_damaged_record_raises(tmp_path: Path, text: str) -> None:
    (tmp_path / "tracking.json").write_text(text)
    with pytest.raises(OvocrError, match=r"tracking\.json: .*; remove it to continue as a new run in the trackers"):
        TrackingRecord(tmp_path / "tracking.json", is_new=False)
