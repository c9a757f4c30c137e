"""Labelling on a Ray cluster of hosts that are cut off, killed, stopped and slow. The hosts share a folder on the disk.

Ray's own timeouts are shortened by its environment variables, except where a test measures the defaults.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovocr.dataset.layout import LabelledDataSet
from tests.faults.conftest import MakeRow
from tests.faults.hosts.labelling_runs import SHARDS, check, command, end
from tests.faults.hosts.network import Host, Network, network

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
pytestmark = pytest.mark.faults

START_S, RUN_S = 120, 300
ENDED_S = 150  # actors end 90 s after the last answer of the head
PORT = 6379
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_enable_metrics_collection": "0"}
SHORT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_gcs_server_request_timeout_seconds": "10",
}
# A lost lock is waited for this long, instead of the time of an NFS lease.
PATCH = (
    "import sys\n"
    "from ovocr.labelgen.executors.ray import actor_pool, ray_executor\n"
    "actor_pool.NO_ROOM_S = 15.0\n"
    "ray_executor.LOST_LOCK_TIMEOUT_S = 5.0\n"
    "from ovocr.__main__ import main\n"
    "main()\n"
)


@dataclass
class Cluster:
    """A Ray cluster: the head on the first host without a CPU for actors, one CPU on each of the others."""

    net: Network
    folder: Path
    env: dict[str, str]
    programs: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self) -> None:
        for number, host in enumerate(self.net.hosts):
            self.join(host, head=number == 0)

    def join(self, host: Host, *, head: bool = False) -> None:
        """Starts Ray on a host and waits until it is ready."""
        address = f"{self.net.hosts[0].address}:{PORT}"
        where = ["--head", f"--port={PORT}", "--include-dashboard=false"] if head else [f"--address={address}"]
        options = [f"--node-ip-address={host.address}", f"--num-cpus={0 if head else 1}"]
        options += ["--object-store-memory=80000000", "--disable-usage-stats", "--block"]
        if head:
            options.append(f"--temp-dir={self.folder / host.name}")
        ray = str(Path(sys.executable).with_name("ray"))
        log = (self.folder / f"{host.name}.log").open("w")
        env = {**RAY, **self.env, "RAY_TMPDIR": str(self.folder / host.name)}
        program = host.popen([ray, "start", *where, *options], env=env, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + START_S
        while "Ray runtime started" not in (text := (self.folder / f"{host.name}.log").read_text()):
            assert program.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    def run(self, host: Host, arguments: list[str], **env: str) -> subprocess.Popen[str]:
        """Starts the command on a host of the cluster."""
        variables = {**RAY, **self.env, **env, "RAY_ADDRESS": f"{self.net.hosts[0].address}:{PORT}"}
        arguments = [sys.executable, "-c", PATCH, *arguments[3:]]
        return host.popen(arguments, env=variables, stdout=subprocess.DEVNULL)


@contextmanager
def ray_cluster(hosts: int, tmp_path: Path, env: dict[str, str] = SHORT) -> Iterator[Cluster]:
    # The paths of Ray's sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    try:
        with network(hosts, tmp_path) as net:
            cluster = Cluster(net, folder, env)
            cluster.begin()
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_shard_on(host: Host, out: Path, process: subprocess.Popen[str]) -> int:
    """Waits until the host writes a shard, and returns its number."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        for number, folder in LabelledDataSet(out).making_folders():
            try:
                if (folder / "owner").read_text().startswith(f"{host.name},") and list(folder.rglob("*.partial")):
                    return number
            except OSError:  # it has just ended
                continue
        time.sleep(0.005)
    raise AssertionError(f"{host.name} makes no shard")


def actor_pids(host: Host) -> list[int]:
    """Returns the processes of the host's actors and their workers, by their ids on this machine."""
    inside = os.stat(f"/proc/{host._first}/ns/pid").st_ino
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            same = os.stat(path / "ns/pid").st_ino == inside
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if same and (b"ray::ShardActor" in words or b"spawn_main" in words):
            found.append(int(path.name))
    return found


def seconds_since(begin: float) -> float:
    return round(time.monotonic() - begin, 1)


@pytest.mark.parametrize("fault", ["cut off", "killed", "stopped"])
def test_a_host_is_lost_in_a_shard(
    sources: Path, whole: dict[str, str], tmp_path: Path, fault_row: MakeRow, fault: str
) -> None:
    row = fault_row(
        "labelling with Ray",
        f"one of two hosts with actors is {fault} for good in a shard",
        "the run ends, bytes equal",
    )
    with ray_cluster(3, tmp_path) as cluster:
        head, _, lost = cluster.net.hosts
        process = cluster.run(head, command(sources, tmp_path / "out", "--executor", "ray"))
        number = wait_for_shard_on(lost, tmp_path / "out", process)
        begin = time.monotonic()
        if fault == "killed":
            lost.kill()
        elif fault == "stopped":
            pids = actor_pids(lost)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
        if fault != "killed":
            cluster.net.cut(lost)
        code, errors = end(process, RUN_S)
        seconds = seconds_since(begin)
        assert code == 0, errors
        assert re.search(rf"ray: the actor making shard {number} on node {lost.name} .* was lost", errors), errors
        if fault == "stopped":
            assert LabelledDataSet(tmp_path / "out").finished_shards() == list(range(SHARDS))
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        if fault != "killed":
            deadline = time.monotonic() + ENDED_S
            while actor_pids(lost):
                assert time.monotonic() < deadline, "actors of the lost host live on"
                time.sleep(0.1)
        check(tmp_path / "out", whole)
        row.happened = f"shard {number} was made again, the run ended {seconds} s after the fault; bytes equal"


@pytest.mark.parametrize("env", [SHORT, {}], ids=["short", "defaults"])
def test_the_command_is_cut_off_from_the_head(
    sources: Path, whole: dict[str, str], tmp_path: Path, fault_row: MakeRow, env: dict[str, str]
) -> None:
    times = "short timeouts" if env else "defaults"
    row = fault_row(
        "labelling with Ray",
        f"the host of the command is cut off from the head ({times} of Ray)",
        "one line in bounded time; the same command goes on later",
    )
    with ray_cluster(2, tmp_path, env) as cluster:
        _, host = cluster.net.hosts
        process = cluster.run(host, command(sources, tmp_path / "out", "--executor", "ray"))
        wait_for_shard_on(host, tmp_path / "out", process)
        begin = time.monotonic()
        cluster.net.cut(host)
        code, errors = end(process, RUN_S)
        seconds = seconds_since(begin)
        print(errors)
        assert code == 1, errors
        first, *others, last = [line for line in errors.splitlines() if "no actor is ready" not in line]
        assert first.startswith("ovocr: ray: 2 nodes, 1 CPU at ")
        assert re.fullmatch(r"ovocr: ray: the head of the cluster at \S+ has not answered for 90 s; finished .*", last)
        assert others == []
        deadline = time.monotonic() + ENDED_S
        while actor_pids(host):
            assert time.monotonic() < deadline, "actors of the lost host live on"
            time.sleep(0.1)
    finished = len(LabelledDataSet(tmp_path / "out").finished_shards())
    with ray_cluster(2, tmp_path, env) as cluster:
        code, errors = end(cluster.run(cluster.net.hosts[1], command(sources, tmp_path / "out", "--executor", "ray")))
        assert code == 0, errors
    check(tmp_path / "out", whole)
    row.happened = f"one line after {seconds} s, {finished} shards kept; the same command later: bytes equal"


@pytest.mark.parametrize("heals", ["before", "after"])
def test_a_cut_heals(sources: Path, whole: dict[str, str], tmp_path: Path, fault_row: MakeRow, heals: str) -> None:
    row = fault_row(
        "labelling with Ray",
        f"a host is cut off in a shard, and the cut heals {heals} Ray gives the host up",
        "the run ends, bytes equal",
    )
    with ray_cluster(3, tmp_path) as cluster:
        head, _, host = cluster.net.hosts
        process = cluster.run(head, command(sources, tmp_path / "out", "--executor", "ray"))
        number = wait_for_shard_on(host, tmp_path / "out", process)
        begin = time.monotonic()
        cluster.net.cut(host)
        pids = actor_pids(host)
        for pid in pids:  # so that the shard is not made before Ray notices the cut
            os.kill(pid, signal.SIGSTOP)
        assert process.stderr is not None
        if heals == "after":
            said = ""
            while f"ray: the actor making shard {number} on node {host.name} " not in said:
                said = process.stderr.readline()
                assert said, process.wait(RUN_S)
        else:
            wait_for_lost_frames(cluster.net, 5)
        cluster.net.heal(host)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        code, errors = end(process, RUN_S)
        seconds = seconds_since(begin)
        assert code == 0, errors
        check(tmp_path / "out", whole)
        lost = "was lost" in errors or heals == "after"
        row.happened = f"{'made again' if lost else 'no actor lost'}, the end {seconds} s after the cut; bytes equal"


def wait_for_lost_frames(net: Network, count: int) -> None:
    deadline = time.monotonic() + START_S
    while net.frames()[1] < count:
        assert time.monotonic() < deadline, "no frame is lost"
        time.sleep(0.05)


def test_a_slow_network(sources: Path, whole: dict[str, str], tmp_path: Path, fault_row: MakeRow) -> None:
    row = fault_row(
        "labelling with Ray",
        "0.2 s for a round trip, 3% of the frames are lost (defaults of Ray)",
        "the run ends, bytes equal",
    )
    with ray_cluster(3, tmp_path, {}) as cluster:
        cluster.net.latency(0.1)
        cluster.net.loss(0.03)
        begin = time.monotonic()
        process = cluster.run(cluster.net.hosts[0], command(sources, tmp_path / "out", "--executor", "ray"))
        code, errors = end(process, RUN_S)
        assert code == 0, errors
        lost = errors.count("was lost")
        row.happened = f"{SHARDS} shards in {seconds_since(begin)} s, {lost} actors lost; bytes equal"
        check(tmp_path / "out", whole)


def test_all_hosts_with_actors_are_killed(
    sources: Path, whole: dict[str, str], tmp_path: Path, fault_row: MakeRow
) -> None:
    row = fault_row(
        "labelling with Ray",
        "the only host with an actor is killed and joins again after the command has given up",
        "one line in bounded time; the same command goes on later",
    )
    with ray_cluster(2, tmp_path) as cluster:
        head, host = cluster.net.hosts
        process = cluster.run(head, command(sources, tmp_path / "out", "--executor", "ray"))
        wait_for_shard_on(host, tmp_path / "out", process)
        begin = time.monotonic()
        host.kill()
        code, errors = end(process, RUN_S)
        seconds = seconds_since(begin)
        assert code == 1, errors
        _, lost, last = [line for line in errors.splitlines() if "no actor is ready" not in line]
        assert "was lost" in lost
        assert last.startswith("ovocr: --executor ray: no node of the cluster has had room for an actor for 15 s; ")
        host.boot()
        cluster.join(host)
        code, errors = end(cluster.run(head, command(sources, tmp_path / "out", "--executor", "ray")), RUN_S)
        assert code == 0, errors
        check(tmp_path / "out", whole)
        row.happened = f"one line after {seconds} s (15 s without a node); the same command later: bytes equal"
