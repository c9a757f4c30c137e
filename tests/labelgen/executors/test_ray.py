"""End-to-end runs of the command on real Ray clusters whose raylets and actors are killed."""

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
from pathlib import Path
from typing import Any

import pytest

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
import psutil  # a dependency of Ray

SHARDS = 4
# Ray leaves a token in the user's folder otherwise.
ENVIRONMENT = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, drawn: Any, encoded: Any, tar: Any) -> list[Path]:
    """Returns archives that take an actor a second or two."""
    folder = tmp_path_factory.mktemp("sources")
    texts = ["the quick brown fox", "river stone garden", "over the lazy dog", "window jumps"]
    return [
        tar(folder / f"{number}.tar", [(f"{n}.jpg", encoded(drawn(f"{texts[n % 4]} {number}"))) for n in range(12)])
        for number in range(SHARDS)
    ]


@pytest.fixture(scope="module")
def local(sources: list[Path], vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Returns the files of a run without Ray."""
    out = tmp_path_factory.mktemp("local") / "out"
    build_labels(BuildOptions(sources=tuple(map(str, sources)), out=out, vocab=str(vocabulary), tags=5), progress=False)
    return files(out)


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """Yields the folder of Ray's files. Its path must be short, because it contains sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


class RayCluster:
    def __init__(self, temporary: Path) -> None:
        self._program = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("ray_cluster.py"))],
            env={**ENVIRONMENT, "RAY_TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._program.stdout.readline().strip()
        self.nodes = 0

    def ensure_nodes(self, count: int) -> None:
        """Adds nodes of one CPU each up to this number. The head has no CPU."""
        if count > self.nodes:
            self._program.stdin.write(f"{count - self.nodes}\n")
            self._program.stdin.flush()
            assert self._program.stdout.readline() == "ready\n"
            self.nodes = count

    def end(self) -> None:
        self._program.communicate(timeout=180)


@pytest.fixture(scope="module")
def cluster(temporary: Path) -> Iterator[RayCluster]:
    cluster = RayCluster(temporary)
    yield cluster
    cluster.end()


@pytest.fixture
def start(cluster: RayCluster, sources: list[Path], vocabulary: Path, temporary: Path) -> Iterator[Start]:
    """Starts the command on two nodes. Kills the processes that a test leaves running."""
    cluster.ensure_nodes(2)
    started = []

    def start(out: Path, address: str | None = None, sources: list[Path] = sources) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "ovocr", "build-labels", *map(str, sources), "--out", str(out)]
        command += ["--vocab", str(vocabulary), "--tags", "5", "--executor", "ray", "--json", "-"]
        environment = {**ENVIRONMENT, "RAY_TMPDIR": str(temporary), "RAY_ADDRESS": address or cluster.address}
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def files(root: Path) -> dict[str, bytes]:
    """Returns all files, except statistics, which contain times."""
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not re.fullmatch(r"stats/\d+\.json", name)}


def wait_for_actor(out: Path, process: "subprocess.Popen[str]", shard: int | None = None) -> psutil.Process:
    """Returns the actor that is writing a shard, this one or any. The shard's lock file names it."""
    pattern = "[0-9]*" if shard is None else f"{shard:05d}"
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for partial in out.glob(f".making-*/rec/{pattern}.rec.partial"):
            try:
                holder = LabelledDataSet(out).lock_path(int(partial.name[:5])).read_text()
                actor = psutil.Process(int(holder.rpartition(" ")[2]))
            except (OSError, ValueError, psutil.NoSuchProcess):  # it has finished, is just starting, or was killed
                continue
            if actor.status() != psutil.STATUS_ZOMBIE:
                return actor
        time.sleep(0.01)
    raise AssertionError("no actor is writing a shard")


def family(actor: psutil.Process) -> list[psutil.Process]:
    return [actor, *actor.children(recursive=True)]


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if is_running(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_node_that_dies_does_not_change_the_bytes(
    start: Start, cluster: RayCluster, local: dict[str, bytes], tmp_path: Path
):
    process = start(tmp_path / "out")
    actor = wait_for_actor(tmp_path / "out", process)
    dead = family(actor)
    assert "raylet" in actor.parent().name()
    os.kill(actor.ppid(), signal.SIGKILL)
    cluster.nodes -= 1
    # Actors of a dead node must stop writing.
    wait_until_gone(dead, seconds=10)
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert files(tmp_path / "out") == local
    assert json.loads(output)["ok"] == 12 * SHARDS
    first, second = errors.splitlines()
    assert first == f"ovocr: ray: 3 nodes, 2 CPUs at {cluster.address}"
    assert re.fullmatch(
        r"ovocr: ray: the actor making shard \d on node .* was lost \(.+\); the shard is retried", second
    )


def test_a_shard_whose_actors_die_three_times_ends_the_run(
    start: Start, local: dict[str, bytes], sources: list[Path], tmp_path: Path
):
    out = tmp_path / "out"
    process = start(out)
    for _ in range(3):
        actor = wait_for_actor(out, process, shard=0)
        actor.kill()
        wait_until_gone([actor], seconds=10)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 1
    *_, first, second, last = errors.splitlines()
    assert "the actor making shard 0 on" in first
    assert "the actor making shard 0 on" in second
    assert last.startswith(f"ovocr: shard 0 ({sources[0]}): 3 actors were lost while making it, the last one on node ")
    assert not [name for name in files(out) if name.endswith((".partial", ".lock")) or "starting" in name]

    # Finished shards are kept, and the same command resumes.
    finished = LabelledDataSet(out).finished_shards()
    assert 0 not in finished
    output, errors = (process := start(out)).communicate(timeout=180)
    assert process.returncode == 0, errors
    assert json.loads(output)["shards_built"] == SHARDS - len(finished)
    assert files(out) == local


def test_an_interrupted_run_leaves_no_partial_files(start: Start, tmp_path: Path):
    out = tmp_path / "out"
    process = start(out)
    actor = wait_for_actor(out, process)
    dead = family(actor)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (1, "")
    assert errors.splitlines()[1:] == [
        f"ovocr: interrupted; finished shards are kept in {out}: run the same command again to resume"
    ]
    assert not list(out.rglob("*.partial")) + list(out.rglob("*.lock")) + list(out.glob(".starting-*"))
    wait_until_gone(dead, seconds=10)


def test_an_unreadable_source_ends_the_run_as_it_does_locally(start: Start, sources: list[Path], tmp_path: Path):
    missing = tmp_path / "missing.tar"
    shutil.copy(sources[0], missing)
    process = start(tmp_path / "out", sources=[*sources[:2], missing])
    wait_for_actor(tmp_path / "out", process, shard=0)
    missing.unlink()
    output, errors = process.communicate(timeout=180)
    assert (process.returncode, output) == (1, "")
    assert errors.splitlines()[1:] == [f"ovocr: {missing}: cannot be read: No such file or directory"]
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_without_a_cluster_a_loopback_cluster_is_started(
    start: Start, sources: list[Path], local: dict[str, bytes], tmp_path: Path
):
    process = start(tmp_path / "out", address="local", sources=sources[:1])
    actor = wait_for_actor(tmp_path / "out", process)
    programs = family(psutil.Process(process.pid))
    assert actor in programs
    listening = {
        connection.laddr.ip
        for program in programs
        for connection in program.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert re.fullmatch(r"ovocr: ray: 1 node, \d+ CPUs? at 127\.0\.0\.1:\d+\n", errors)
    made = files(tmp_path / "out")
    assert made["rec/00000.rec"] == local["rec/00000.rec"]
    wait_until_gone(programs, seconds=10)


@pytest.mark.parametrize(
    ("command", "option", "column", "value"),
    [("pack-labels", "--labels", "label", "7"), ("build-labels", "--lines", "text", "river stone")],
)
def test_a_table_on_a_cluster_gives_the_same_bytes(
    cluster: RayCluster,
    start: Start,
    sources: list[Path],
    temporary: Path,
    tmp_path: Path,
    command: str,
    option: str,
    column: str,
    value: str,
):
    (tmp_path / "table.csv").write_text(f"key,{column}\n" + "".join(f"{n}.jpg,{value}\n" for n in range(9)))
    for executor in ("local", "ray"):
        arguments = [sys.executable, "-m", "ovocr", command, *map(str, sources), option, "table.csv"]
        # A table and a folder with relative paths.
        done = subprocess.run(
            [*arguments, "--out", executor, "--executor", executor, "--workers", "1"],
            env={**ENVIRONMENT, "RAY_TMPDIR": str(temporary), "RAY_ADDRESS": cluster.address},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"{9 * SHARDS} ok, {3 * SHARDS} dropped" in done.stdout
    assert files(tmp_path / "ray") == files(tmp_path / "local")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://127.0.0.1:10001"])
def test_an_address_without_a_cluster_is_a_usage_error(start: Start, address: str, tmp_path: Path):
    output, errors = (process := start(tmp_path / "out", address=address)).communicate(timeout=120)
    assert (process.returncode, output) == (2, "")
    assert errors == (
        f"ovocr: RAY_ADDRESS {address}: no Ray cluster answers there; on one of its nodes, give the HOST:PORT of "
        "`ray start --head`\n"
    )
    assert not (tmp_path / "out").exists()
