"""A run whose processes are killed at random times writes the same bytes as an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovocr.dataset.layout import LabelledDataSet

KILLS = 20
SEED = 2026
SHARDS, IMAGES = 6, 6
Draw = Callable[..., bytes]

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@dataclass
class Command:
    """One run of the command, in its own process group. start, date: start time by the monotonic and the wall clock."""

    arguments: list[str]
    process: subprocess.Popen[str] = field(init=False)
    start: float = field(init=False)
    date: float = field(init=False)

    def __post_init__(self) -> None:
        self.start, self.date = time.monotonic(), time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ovocr", *self.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def runs_until(self, moment: float) -> bool:
        """Waits until ``moment``. Returns True if the command still runs."""
        try:
            self.process.wait(max(0.0, moment - time.monotonic()))
        except subprocess.TimeoutExpired:
            return True
        return False

    def wait_for_shard(self, out: Path) -> float:
        """Waits for the first shard, or the end. Returns the time."""
        while phase_of(out, self.date) == "starting" and self.process.poll() is None:
            time.sleep(0.01)
        return time.monotonic()

    def members(self) -> list[int]:
        """Returns the running processes of the group."""
        return [pid for pid, group, _ in processes() if group == self.process.pid]

    def workers(self) -> list[int]:
        """Returns the worker processes."""
        children = [pid for pid, _, parent in processes() if parent == self.process.pid]
        return [pid for pid in children if b"spawn_main" in read_bytes(Path(f"/proc/{pid}/cmdline"))]

    def end(self) -> str:
        """Waits for the end. Returns stderr; no process of the group may be left."""
        _, stderr = self.process.communicate(timeout=60)
        deadline = time.monotonic() + 10
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.members() == []
        return stderr


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has ended
        return b""


def processes() -> Iterator[tuple[int, int, int]]:
    """Yields id, group and parent of every process except zombies. Format: proc(5), stat."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = read_bytes(path).rpartition(b")")[2].split()
        if fields and fields[0] != b"Z":
            yield int(path.parent.name), int(fields[2]), int(fields[1])


def files_of(root: Path) -> dict[str, bytes]:
    """Returns the content of all files, without the times in statistics."""
    return {str(path.relative_to(root)): content_of(path) for path in root.rglob("*") if path.is_file()}


def content_of(path: Path) -> bytes:
    if path.parent.name != "stats":
        return path.read_bytes()
    stats = json.loads(path.read_bytes())
    del stats["seconds"]
    return json.dumps(stats).encode()


def finished_files(root: Path) -> dict[Path, int]:
    """Returns the time of the last change of each file of a finished shard."""
    names = {f"{number:05d}" for number in LabelledDataSet(root).finished_shards()}
    return {path: path.stat().st_mtime_ns for path in LabelledDataSet(root).shard_files() if path.stem in names}


def phase_of(root: Path, since: float) -> str:
    """Returns the phase of a run that began at ``since``. Older files belong to earlier runs."""
    new = [path for path in root.rglob("[0-9]*") if path.is_file() and path.stat().st_mtime >= since]
    if any(path.suffix == ".partial" for path in new):
        return "in a shard"
    return "between shards" if new else "starting"


@dataclass
class Killing:
    """Starts and kills runs. A complete data set is compared with the reference, and a new one is started.

    reference: files of a run that was not killed. starting, working: its seconds before and after
    the start of its first shard.
    """

    arguments: list[str]
    folder: Path
    reference: dict[str, bytes]
    starting: float
    working: float
    hits: Counter[str] = field(default_factory=Counter)
    rounds: int = 0

    @property
    def out(self) -> Path:
        return self.folder / f"out{self.rounds}"

    def run(self, first: float, second: float, *, in_shard: bool, only_parent: bool) -> None:
        """Kills a worker, and later the group or the parent alone, at these fractions of a phase."""
        before = finished_files(self.out)
        command = Command([*self.arguments, "--out", str(self.out)])
        start = command.wait_for_shard(self.out) if in_shard else command.start
        length = self.working if in_shard else self.starting
        if command.runs_until(start + first * length) and (workers := command.workers()):
            os.kill(random.choice(workers), signal.SIGKILL)
            self._note("worker", command)
        if command.runs_until(start + second * length):
            (os.kill if only_parent else os.killpg)(command.process.pid, signal.SIGKILL)
            self._note("parent" if only_parent else "group", command)
        stderr = command.end()
        assert before.items() <= finished_files(self.out).items(), "a finished shard was touched"
        if command.process.returncode != -signal.SIGKILL:
            assert command.process.returncode == 0, stderr
            self._compare()

    def _note(self, victim: str, command: Command) -> None:
        phase = phase_of(self.out, command.date)
        self.hits[victim] += 1
        self.hits[phase] += 1
        print(f"data set {self.rounds}: {victim} killed after {time.monotonic() - command.start:.2f} s, {phase}")

    def finish(self) -> None:
        """Completes the last data set."""
        command = Command([*self.arguments, "--out", str(self.out)])
        stderr = command.end()
        assert command.process.returncode == 0, stderr
        self._compare()

    def _compare(self) -> None:
        assert files_of(self.out) == self.reference
        self.rounds += 1

    @property
    def kills(self) -> int:
        """Kills that hit a running process."""
        return self.hits["worker"] + self.hits["parent"] + self.hits["group"]


@pytest.fixture
def arguments(tmp_path: Path, vocabulary: Path, drawn: Draw, encoded: Draw, tar: Draw) -> list[str]:
    for shard in range(SHARDS):
        texts = [f"river stone {shard} {image}" for image in range(IMAGES)]
        tar(tmp_path / f"{shard}.tar", [(f"{text}.png", encoded(drawn(text, (380, 80)), "PNG")) for text in texts])
    return ["build-labels", str(tmp_path / "*.tar"), "--vocab", str(vocabulary), "--workers", "2"]


def test_twenty_kills_do_not_change_the_bytes(arguments: list[str], tmp_path: Path):
    whole = Command([*arguments, "--out", str(tmp_path / "reference")])
    starting = whole.wait_for_shard(tmp_path / "reference") - whole.start
    stderr = whole.end()
    assert whole.process.returncode == 0, stderr
    working = time.monotonic() - whole.start - starting
    killing = Killing(arguments, tmp_path, files_of(tmp_path / "reference"), starting, working)
    print(
        f"seed {SEED}; without a kill the first shard begins after {starting:.1f} s, the end is {working:.1f} s later"
    )

    random.seed(SEED)
    runs = 0
    while killing.kills < KILLS:
        second = random.random()
        killing.run(second * random.random(), second, in_shard=runs % 3 > 0, only_parent=runs % 4 == 0)
        runs += 1
        assert runs <= 2 * KILLS, f"only {killing.kills} kills hit a process at work"
    killing.finish()
    print(f"{killing.kills} kills in {runs} runs hit a process at work, {killing.rounds} data sets: {killing.hits}")
    assert min(killing.hits[what] for what in ("worker", "group", "parent", "starting", "in a shard")) >= 1
