"""Runs that write one data set from two hosts that share no locks: two mounts of one folder by a server of our own.

The data set is labelled with given text, so no engine has to start.
"""

import itertools
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ovocr.dataset.layout import LabelledDataSet
from tests.faults.conftest import MakeRow
from tests.faults.hosts.labelling_runs import SHARDS, check, command, end, start
from tests.faults.power_cut.mounting import mounted
from tests.labelgen.data_sets import wait_for_writer

TAKEN = (
    r"ovocr: \S+: shard \d was taken over by another process( \(.+, process \d+\))?; run the same command again .*\n"
)
Mounts = Callable[[float], tuple[Path, Path]]


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    """Returns a function that mounts a folder twice. Its argument: seconds for which a mount may use what it knows."""
    with ExitStack() as stack:

        def mount(cache_s: float) -> tuple[Path, Path]:
            (tmp_path / "disk").mkdir()
            one, other = (
                stack.enter_context(mounted(tmp_path / "disk", tmp_path / name, cache_s=cache_s))
                for name in ("one", "other")
            )
            return one, other

        yield mount


@pytest.mark.parametrize("cache_s", [0.0, 5.0])
def test_a_stopped_host_that_goes_on_writes_nothing(
    sources: Path, whole: dict[str, str], mounts: Mounts, fault_row: MakeRow, cache_s: float
) -> None:
    row = fault_row(
        "labelling",
        f"a host stops in a shard, another host without its locks makes the shard, the first goes on ({cache_s:g} s "
        "of cached names)",
        "the first ends with one line; bytes equal",
    )
    one, other = mounts(cache_s)
    first = start(command(sources, one / "out"))
    wait_for_writer(one / "out", 1, first)
    first.send_signal(signal.SIGSTOP)
    assert end(start(command(sources, other / "out"))) == (0, "")
    before = {path: path.stat().st_mtime_ns for path in other.rglob("*") if path.is_file()}
    first.send_signal(signal.SIGCONT)
    code, errors = end(first)
    assert (code, bool(re.fullmatch(TAKEN, errors))) == (1, True), errors
    assert before == {path: path.stat().st_mtime_ns for path in other.rglob("*") if path.is_file()}
    check(other / "out", whole)
    row.happened = f"{errors.strip().rpartition('/')[2]}; the other's files unchanged"


@pytest.mark.faults
@pytest.mark.parametrize("cache_s", [0.0, 5.0])
def test_a_slice_that_starts_twice_on_hosts_without_shared_locks(
    sources: Path, whole: dict[str, str], mounts: Mounts, fault_row: MakeRow, cache_s: float
) -> None:
    row = fault_row(
        "labelling",
        f"each of two slices starts twice at once, on hosts without shared locks ({cache_s:g} s of cached names)",
        "losers end with one line; bytes equal",
    )
    places = mounts(cache_s)
    lost = 0
    for attempt in itertools.count(1):
        processes = [
            start(command(sources, place / "out", "--shard-slice", f"{number}/2"))
            for number in range(2)
            for place in places
        ]
        for process in processes:
            code, errors = end(process)
            if code:
                assert re.fullmatch(TAKEN, errors), errors
                lost += 1
            else:
                assert re.fullmatch(r"(ovocr: shard \d was made by another process meanwhile\n)*", errors), errors
        if len(LabelledDataSet(places[0] / "out").finished_shards()) == SHARDS:
            break
        assert attempt < 5, "nobody finishes"
    assert end(start(command(sources, places[0] / "out")))[0] == 0
    check(places[1] / "out", whole)
    row.happened = f"{4 * attempt} commands, {lost} ended with one line; all shards, bytes equal"
