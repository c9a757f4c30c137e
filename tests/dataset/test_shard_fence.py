"""Writers of one shard that lose their locks: real processes that are stopped before each operation on the disk."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.shard_writer import ShardWriter, remove_all_leftovers
from tests.dataset.stopping_writer import SHARD

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60
ENDED, STOPPED = "ended", "stopped"
ENTRY = ShardEntry(source="x.tar", kind="tar")

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@dataclass
class Writer:
    """A process that writes the shard."""

    root: Path
    pid: int

    def wait(self) -> str:
        """Waits until it has ended or stopped itself, and returns which."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                state = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
            except OSError:
                return ENDED
            if state == b"T":
                return STOPPED
            time.sleep(0.0005)
        raise AssertionError(f"writer {self.pid} neither ends nor stops")

    def result(self) -> str:
        """Lets it go on, waits for its end and returns its result."""
        if self.wait() == STOPPED:
            os.kill(self.pid, signal.SIGCONT)
            while self.wait() == STOPPED:  # it has not yet gone on
                pass
        return Path(f"{self.root}.{self.pid}").read_text()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Yields a folder in memory if there is such a file system: flushes to a busy disk take most of the time."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="ovocr-fence-", dir=shm))
    yield folder
    shutil.rmtree(folder)


StartWriter = Callable[..., Writer]


@pytest.fixture(scope="module")
def start() -> Iterator[StartWriter]:
    """Returns a function that starts a writer. stop: see ``stopping_writer``; 0: never."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.dataset.stopping_writer"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    stdin, stdout = program.stdin, program.stdout

    def start(root: Path, stop: int = 0, *, replace: bool = False) -> Writer:
        stdin.write(json.dumps([str(root), stop, replace]) + "\n")
        stdin.flush()
        return Writer(root, int(stdout.readline()))

    yield start
    program.communicate(timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def whole(start: StartWriter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns the files of a shard whose writer was not disturbed."""
    root = tmp_path_factory.mktemp("whole") / "data"
    assert start(root).result() == "made"
    return content(root)


def content(root: Path) -> dict[str, bytes]:
    """Returns the content of all files, without the seconds in statistics."""
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: re.sub(rb'"seconds": .*', b"", data) for name, data in files.items()}


def identity(root: Path) -> dict[Path, tuple[int, int]]:
    """Returns what changes if a file is replaced or written."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def lose_lock(data_set: LabelledDataSet) -> None:
    data_set.lock_path(SHARD).unlink(missing_ok=True)


@pytest.mark.parametrize("replace", [False, True])
def test_a_writer_that_lost_its_lock_anywhere_changes_nothing_more(
    start: StartWriter, whole: dict[str, bytes], memory: Path, replace: bool
) -> None:
    taken = "shard 3 was taken over by another process; run the same command again when it has ended"
    fenced = 0
    for stop in itertools.count(1):
        root = memory / str(stop)
        data_set = LabelledDataSet(root)
        if replace:
            assert start(root).result() == "made"
        earlier = identity(root).get(data_set.stats_path(SHARD))
        first = start(root, stop, replace=replace)
        if first.wait() == ENDED:
            break
        had_folder = bool(data_set.making_folders())
        had_placed = identity(root).get(data_set.stats_path(SHARD)) not in (None, earlier)
        lose_lock(data_set)

        second = start(root, replace=replace).result()
        assert second == ("finished before" if had_placed and not replace else "made"), stop
        assert content(root) == whole, stop
        after = identity(root)
        result = first.result()
        if had_placed:
            assert result == "made", stop
        elif had_folder:
            assert result in (f"{root}: {taken}", "finished before"), stop
            fenced += result != "finished before"
        else:  # it has not begun, so it comes after the second one
            assert result == ("made" if replace else "finished before"), stop
            assert content(root) == whole, stop
            continue
        assert identity(root) == after, stop
        assert list(root.glob(".*")) == [], stop
    assert fenced > 20


def check_rounds(start: StartWriter, whole: dict[str, bytes], folder: Path, pairs: Iterator[tuple[int, int]]) -> int:
    """Stops a writer, lets another one take over and stops it too, then lets the first and the second end.

    Returns the number of rounds in which a writer was fenced.
    """
    fenced = 0
    for stops in pairs:
        root = folder / "-".join(map(str, stops))
        data_set = LabelledDataSet(root)
        writers = []
        for stop in stops:
            writers.append(start(root, stop))
            writers[-1].wait()
            lose_lock(data_set)
        results = [writer.result() for writer in writers]
        made = [result for result in results if result in ("made", "finished before")]
        assert all(result in made or "shard 3 was taken over by another process" in result for result in results), stops
        if "made" in made:
            assert content(root) == whole, (stops, results)
        else:
            assert not data_set.stats_path(SHARD).exists(), (stops, results)
        fenced += len(made) < len(results)
        assert start(root).result() == ("finished before" if "made" in made else "made"), stops
        assert content(root) == whole, (stops, results)
        assert list(root.glob(".*")) == [], stops
    return fenced


def operations(start: StartWriter, folder: Path) -> int:
    """Returns the number of operations of an undisturbed writer."""
    return next(n for n in itertools.count(1) if start_and_end(start, folder / f"count{n}", n) == ENDED) - 1


def start_and_end(start: StartWriter, root: Path, stop: int) -> str:
    writer = start(root, stop)
    state = writer.wait()
    writer.result()
    return state


def test_two_writers_without_locks_that_stop_at_any_place(
    start: StartWriter, whole: dict[str, bytes], memory: Path
) -> None:
    count = operations(start, memory)
    pairs = [(a, b) for a in range(1, count + 1) for b in range(1, count + 1)]
    # Every place of each, with a few of the other.
    assert check_rounds(start, whole, memory, iter(pairs[:: count - 1 if count % 7 else count + 1][:40])) > 5


@pytest.mark.faults
def test_all_pairs_of_places_at_which_two_writers_without_locks_stop(
    start: StartWriter, whole: dict[str, bytes], memory: Path, fault_row: Callable[..., object]
) -> None:
    row = fault_row("labelling", "two writers of a shard lose their locks at any pair of places", "one shard, whole")
    count = operations(start, memory)
    pairs = itertools.product(range(1, count + 1), repeat=2)
    fenced = check_rounds(start, whole, memory, pairs)
    row.happened = f"{count * count} pairs of {count} places: equal bytes, a writer fenced in {fenced}"


def test_a_shard_on_two_file_systems_is_refused(tmp_path: Path) -> None:
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs two file systems")
    data_set = LabelledDataSet(tmp_path)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / "rec").symlink_to(other)
        message = rf"^{tmp_path}/rec: is on another file system than {tmp_path}; keep both on the same one$"
        with pytest.raises(OvocrError, match=message), ShardWriter(data_set, SHARD, ENTRY):
            pass
    assert list(tmp_path.rglob(".*")) == []


def test_leftovers_are_removed_except_those_of_shards_being_written(tmp_path: Path) -> None:
    data_set = LabelledDataSet(tmp_path)
    folders = [tmp_path / f"{data_set.making_prefix(number)}killed" for number in (1, 2)]
    for folder in folders:
        (folder / "rec").mkdir(parents=True)
    with locked(data_set.lock_path(2), "busy"):
        remove_all_leftovers(data_set)
    assert [folder.exists() for folder in folders] == [False, True]
