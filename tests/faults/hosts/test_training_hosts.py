"""Training on several hosts whose network or power fails: all ranks end and say why, or the course stays the same."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakeRow
from tests.faults.hosts.network import Network, network
from tests.faults.hosts.training import HostsRun, left_over
from tests.trainer.conftest import Runs, write_run_config

TIMEOUT_S = 10
LIMIT_S = TIMEOUT_S + 60
LONG = ("run.steps=60", "run.checkpoint_every=5", "run.log_every=1", f"run.collective_timeout_s={TIMEOUT_S}")
OUT_OF_REACH = r"the store of the run at host1:\d+ cannot be reached from {host}: that host, or the network"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_run_config(tmp_path)


@pytest.fixture
def net(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Network]:
    with network(getattr(request, "param", 2), tmp_path) as net:
        yield net


@pytest.fixture
def undisturbed(tmp_path: Path, config: Path) -> Path:
    """Returns the folder of a run of 12 steps that nothing disturbs."""
    Runs.finish(config, f"run.output={tmp_path / 'whole'}")
    return tmp_path / "whole"


def assert_ended(run: HostsRun, net: Network, numbers: list[int]) -> float:
    """Asserts that the programs of these hosts end in time, fail, print one reason each, and leave no process."""
    codes, seconds = run.wait(LIMIT_S)
    for number in numbers:
        assert codes[number] != 0
        assert len(run.reasons(number)) == 1, run.lines(number)[-5:]
        assert left_over(net.hosts[number]) == []
    return seconds


def assert_goes_on_alone(config: Path, folder: Path) -> str:
    """Resumes the run on this machine alone, and asserts that its whole course is that of a run without a fault.

    Returns what happened.
    """
    resumed = re.search(r"\(from step (\d+)\)", Runs.finish(config, *LONG))
    assert resumed is not None
    Runs.finish(config, *LONG, f"run.output={folder / 'alone'}")
    Runs.assert_same_metrics(folder / "run", folder / "alone", 1e-3)
    return f"resumed on one host from step {resumed[1]} with the same course"


def test_cut_ends_both_sides_and_the_run_goes_on_alone(
    net: Network, config: Path, tmp_path: Path, fault_row: MakeRow
) -> None:
    row = fault_row(
        "training",
        "2 hosts (ovocr train --nnodes), cut off in mid-run for good",
        f"both ends within {LIMIT_S} s with one line each; resumed on one host with the next sample",
    )
    run = HostsRun(net, config, *LONG, launcher="ovocr")
    run.wait_for_step(8)
    net.cut(net.hosts[1])
    seconds = assert_ended(run, net, [0, 1])
    assert re.search(r"rank 1 \(host2, process \d+\) does not answer.* its host cannot be reached", run.reasons(0)[0])
    assert re.search(OUT_OF_REACH.format(host="host2"), run.reasons(1)[0])
    assert not [line for number in (0, 1) for line in run.lines(number) if "Traceback" in line]
    row.happened = f"ended after {seconds:.0f} s with their lines; {assert_goes_on_alone(config, tmp_path)}"


@pytest.mark.faults
@pytest.mark.parametrize("launcher", ["slurm", "torchrun"])
def test_cut_ends_both_sides(net: Network, config: Path, tmp_path: Path, launcher: str, fault_row: MakeRow) -> None:
    row = fault_row(
        "training", f"2 hosts ({launcher}), cut off for good", f"both end within {LIMIT_S} s, one line each"
    )
    run = HostsRun(net, config, *LONG, launcher=launcher)
    run.wait_for_step(8)
    net.cut(net.hosts[1])
    seconds = assert_ended(run, net, [0, 1])
    assert re.search(r"rank 1 \(host2, process \d+\) does not answer", run.reasons(0)[0])
    assert re.search(OUT_OF_REACH.format(host="host2"), run.reasons(1)[0])
    row.happened = f"ended after {seconds:.0f} s with their lines; {assert_goes_on_alone(config, tmp_path)}"


@pytest.mark.faults
@pytest.mark.parametrize("net", [3], indirect=True)
def test_cut_of_one_of_three_hosts(net: Network, config: Path, fault_row: MakeRow) -> None:
    row = fault_row("training", "3 hosts, one of them cut off", f"all end within {LIMIT_S} s and name it, or the store")
    run = HostsRun(net, config, *LONG)
    run.wait_for_step(8)
    net.cut(net.hosts[2])
    seconds = assert_ended(run, net, [0, 1, 2])
    for number in (0, 1):
        assert re.search(r"rank 2 \(host3, process \d+\) does not answer", run.reasons(number)[0])
        assert "rank 1 (" not in run.reasons(number)[0]
    assert re.search(OUT_OF_REACH.format(host="host3"), run.reasons(2)[0])
    row.happened = f"ended after {seconds:.0f} s; hosts 1 and 2 name rank 2, host 3 the store"


@pytest.mark.faults
@pytest.mark.parametrize("reboots", [False, True], ids=["stays down", "reboots"])
@pytest.mark.parametrize("victim", [0, 1], ids=["of the store", "without the store"])
def test_host_loses_power(
    net: Network, config: Path, tmp_path: Path, victim: int, reboots: bool, fault_row: MakeRow
) -> None:
    host = "host of the store" if victim == 0 else "host without the store"
    after = "reboots" if reboots else "stays down"
    row = fault_row("training", f"2 hosts, the {host} loses power and {after}", f"the other ends within {LIMIT_S} s")
    run = HostsRun(net, config, *LONG)
    run.wait_for_step(8)
    net.hosts[victim].kill()
    if reboots:
        net.hosts[victim].boot()
    other = 1 - victim
    seconds = assert_ended(run, net, [other])
    reason = run.reasons(other)[0]
    row.happened = f"ended after {seconds:.0f} s: {reason.partition('because ')[2]}"
    if victim:
        assert "rank 1 (host2, " in reason
    else:
        assert re.search(OUT_OF_REACH.format(host="host2"), reason) or "rank 0, or the torchrun" in reason
    assert_goes_on_alone(config, tmp_path)


@pytest.mark.faults
def test_interface_that_is_set_down(net: Network, config: Path, fault_row: MakeRow) -> None:
    row = fault_row("training", "2 hosts, `ip link set down` on one", f"both end within {LIMIT_S} s, one line each")
    run = HostsRun(net, config, *LONG)
    run.wait_for_step(8)
    net.hosts[1].run(["ip", "link", "set", "eth0", "down"])
    seconds = assert_ended(run, net, [0, 1])
    assert re.search(OUT_OF_REACH.format(host="host2"), run.reasons(1)[0])
    row.happened = f"ended after {seconds:.0f} s with their lines"


@pytest.mark.faults
@pytest.mark.parametrize("cut_s", [5, 15])
def test_a_cut_shorter_than_the_timeout_heals(
    net: Network,
    config: Path,
    tmp_path: Path,
    undisturbed: Path,
    cut_s: int,
    fault_row: MakeRow,
    idle: Callable[[float], None],
) -> None:
    row = fault_row("training", f"2 hosts, cut off for {cut_s} s of collective_timeout_s = 20", "the same course")
    run = HostsRun(net, config, "run.log_every=1", "run.collective_timeout_s=20")
    run.wait_for_step(4)
    net.cut(net.hosts[1])
    idle(cut_s)
    net.heal(net.hosts[1])
    codes, seconds = run.wait(120)
    assert codes == [0, 0], run.lines(1)[-5:]
    Runs.assert_same_metrics(tmp_path / "run", undisturbed, 1e-3)
    row.happened = f"went on, ended {seconds:.0f} s after the cut; 12 steps with the same samples and losses"


@pytest.mark.faults
def test_latency_and_loss_change_nothing_but_time(
    net: Network, config: Path, tmp_path: Path, undisturbed: Path, fault_row: MakeRow
) -> None:
    row = fault_row("training", "2 hosts, 100 ms latency and 5% of the packets lost", "the same course, only slower")
    net.latency(0.1)
    net.loss(0.05)
    run = HostsRun(net, config, "run.log_every=1")
    codes, seconds = run.wait(900)
    assert codes == [0, 0], run.lines(1)[-5:]
    Runs.assert_same_metrics(tmp_path / "run", undisturbed, 1e-3)
    delivered, lost = net.frames()
    row.happened = (
        f"12 steps with the same samples and losses in {seconds:.0f} s; {lost:,} of {delivered + lost:,} lost"
    )


@pytest.mark.faults
@pytest.mark.parametrize("number", [0, 1])
def test_the_other_host_never_starts(net: Network, config: Path, number: int, fault_row: MakeRow) -> None:
    row = fault_row("training", f"host {number + 1} of 2 starts alone", "ends after collective_timeout_s with one line")
    net.hosts[1 - number].kill()
    run = HostsRun(net, config, *LONG, only=number)
    codes, seconds = run.wait(120)
    assert codes == [1]
    (reason,) = run.reasons(number)
    assert f"rank {number}: cannot meet the other ranks at host1:29500: " in reason
    row.happened = f"ended after {seconds:.0f} s: {reason}"
