"""Power cuts during training. The newest complete checkpoint loads, and the run takes the same course."""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ovocr.trainer.config.file import load_config
from ovocr.trainer.runs.checkpoint import STATE_FILE, complete_checkpoints, read_state
from ovocr.trainer.runs.checkpoint_index import read_index
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.loop import train
from tests.faults.conftest import MakeRow
from tests.faults.power_cut.cuts import Recording, differing, files_of, record
from tests.faults.power_cut.replay import Disk
from tests.trainer.conftest import Runs, write_data_set, write_run_config

CUTS, FEW = 30, 3
TIMES = ("images_per_s", "data_wait_s", "model_tflops_per_s", "mfu", "memory_gb", "evaluation_s")
EXPECTED = "checkpoints whole, at most one lost; the newest loads; the run resumes; metrics and centers of an uncut run"


@dataclass
class Training:
    """A recorded training run and what an uncut run leaves. again: runs the same command."""

    recording: Recording
    again: Callable[[], object]
    steps: int
    reference: dict[str, bytes] = field(init=False)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.reference = contents(self.run)

    @property
    def run(self) -> Path:
        return self.recording.folder / "run"

    def cut(self, count: int) -> None:
        """Cuts the power at ``count`` moments, checks what is left, and repeats the command."""
        for moment, rule in self.recording.cuts(count):
            self.recording.cut(moment, rule)
            place = f"cut after entry {moment} of {len(self.recording.log)}, {type(rule).__name__}"
            found = check_checkpoints(self.run, place)
            self.seen["resumed" if found else "started anew"] += 1
            self.again()
            others = differing(contents(self.run), self.reference)
            assert others == [], place
            check_checkpoints(self.run, place)

    def check_end(self) -> None:
        """Cuts the power right after the run: nothing is lost."""
        self.recording.cut_at_end()
        check_checkpoints(self.run, "a power cut after the run")
        lost = differing(contents(self.run), self.reference)
        assert lost == [], "a power cut after the run loses files"

    def check_losses(self) -> None:
        """At any moment, the newest durable checkpoint is that before the newest one, or this one."""
        for disk in Disk.states(self.recording.log, self.recording.begin):
            seen, kept = (newest(disk.names(live=live)) for live in (True, False))
            assert seen - kept <= 1, f"{seen} steps were saved, {kept} are left"

    def format(self) -> str:
        """Describes what happened, for the table of faults."""
        cuts = sum(self.seen.values())
        what = ", ".join(f"{count} {name}" for name, count in sorted(self.seen.items()))
        return f"{cuts} of {cuts}: the same course ({what}; {self.recording.syncs()} fsyncs for {self.steps} steps)"


def newest(names: Iterable[str]) -> int:
    """Returns the step of the newest complete checkpoint among the names of files."""
    parts = [Path(name).parts for name in names]
    saved = [part[2] for part in parts if part[:2] == ("run", "checkpoints") and part[3:] == (STATE_FILE,)]
    return max((int(name) for name in saved if name.isdecimal()), default=0)


def check_checkpoints(run: Path, place: str) -> list[Path]:
    """Checks the checkpoints of a run and of those it supersedes against their checksums. Returns those of the run."""
    for folder in run.rglob("checkpoints"):
        for checkpoint in complete_checkpoints(folder):
            checksums = read_state(checkpoint)["crc32"]
            assert checksums, place
            for name, checksum in checksums.items():
                assert (checkpoint / name).is_file(), f"{place}: {checkpoint} has no {name}"
                assert zlib.crc32((checkpoint / name).read_bytes()) == checksum, f"{place}: {checkpoint / name}"
            read_index(checkpoint)
    return complete_checkpoints(run / "checkpoints")


def contents(run: Path) -> dict[str, bytes]:
    """Returns the content of a run's files without times and dates, and without some files.

    The index of a checkpoint has absolute paths, and loading it is the test of it. TensorBoard's curves may end
    earlier. A partial file may be left until the file is written again.
    """
    left_out = (".metadata", "tensorboard/", ".partial")
    return {
        name: data for name, data in files_of(run, content_of).items() if not any(part in name for part in left_out)
    }


def content_of(path: Path) -> bytes:
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return json.dumps([_without_times(line) for line in lines]).encode()
    if path.name == STATE_FILE:
        return json.dumps(_without_times(json.loads(path.read_bytes()))).encode()
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_times(item) for key, item in value.items() if key not in (*TIMES, "date")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns an empty folder to record."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def settings_of(root: Path, folder: Path, steps: int) -> list[str]:
    """Returns the settings of a run that saves every step and evaluates every second one."""
    held_out = write_data_set(root / "held_out", [12], patterned=True)
    return [
        f"run.output={folder / 'run'}",
        f"run.steps={steps}",
        "run.checkpoint_every=1",
        "run.keep_checkpoints=2",
        "loader.workers=0",
        "optimizer.schedule=wsd",
        "optimizer.cooldown_steps=2",
        f'evaluation.data=["{held_out}"]',
        "evaluation.every=2",
        "evaluation.replicates=20",
    ]


def train_once(root: Path, folder: Path, *, ranks: int = 1) -> Training:
    """Records a run of five steps in processes of its own."""
    config, steps = write_run_config(root), 5
    settings = settings_of(root, folder, steps)
    recording = record(folder, lambda: Runs.finish(config, *settings, ranks=ranks))

    def again() -> None:
        if ranks == 1:
            train(load_config(config, settings))
        else:
            Runs.finish(config, *settings, ranks=ranks)

    return Training(recording, again, steps)


def extend_run(root: Path, folder: Path) -> Training:
    """Records the extension of a run of four steps to six."""
    config = write_run_config(root)
    train(load_config(config, settings_of(root, folder, 4)))
    settings = settings_of(root, folder, 6)
    recording = record(folder, lambda: Runs.finish(config, *settings, extend=True))
    return Training(recording, lambda: train(load_config(config, settings), extend=True), 6)


def test_a_few_cuts_of_training(folder: Path, tmp_path: Path):
    training = train_once(tmp_path, folder)
    training.check_end()
    training.check_losses()
    training.cut(FEW)
    assert RunFolder(training.run).newest_checkpoint() == RunFolder(training.run).checkpoint(training.steps)


@pytest.mark.faults
@pytest.mark.parametrize("ranks", [1, 2])
def test_cuts_of_training(ranks: int, folder: Path, tmp_path: Path, fault_row: MakeRow):
    row = fault_row("power cut", f"train on {ranks} ranks: power cut at {CUTS} moments", EXPECTED)
    training = train_once(tmp_path, folder, ranks=ranks)
    training.check_end()
    training.check_losses()
    training.cut(CUTS)
    row.happened = training.format()


@pytest.mark.faults
def test_cuts_of_an_extension(folder: Path, tmp_path: Path, fault_row: MakeRow):
    row = fault_row("power cut", f"train --extend: power cut at {CUTS} moments", f"superseded run whole; {EXPECTED}")
    training = extend_run(tmp_path, folder)
    training.check_end()
    training.cut(CUTS)
    row.happened = training.format()
