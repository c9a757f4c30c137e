"""Worker processes that are replaced because they exceed a limit or die while idle."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from ovocr.base.errors import UsageError
from ovocr.cli import main
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, PackOptions
from ovocr.labelgen.shards.totals import Replaced, Totals
from ovocr.labelgen.workers.limits import WorkerLimits, memory_share
from ovocr.labelgen.workers.pool import Job, WorkerPool
from ovocr.processes.memory import available_memory, resident_memory

MB = 10**6


def run(
    factory: Any, items: list[tuple[str, Any]], limits: WorkerLimits, workers: int = 1, batch_size: int = 1
) -> tuple[list[Any], dict[Replaced, int]]:
    with WorkerPool(factory, workers=workers, job_timeout_s=30, batch_size=batch_size, limits=limits) as pool:
        results = list(pool.run((number, Job(item)) for number, item in enumerate(items)))
    assert [number for number, _ in results] == list(range(len(items)))
    return [result for _, result in results], dict(pool.replaced)


def test_a_worker_over_its_item_limit_is_replaced_and_no_item_is_lost(handlers: ModuleType, tmp_path: Path):
    results, replaced = run(handlers.Instructed(tmp_path), [("pid", None)] * 7, WorkerLimits(items=3))
    lives = [len([*same]) for _, same in groupby(results)]
    assert lives == [3, 3, 1]
    assert replaced == {Replaced.IMAGES: 2}


def test_a_batch_is_not_split_at_the_limit(handlers: ModuleType, tmp_path: Path):
    results, _ = run(handlers.Instructed(tmp_path), [("pid", None)] * 12, WorkerLimits(items=3), batch_size=4)
    assert [len([*same]) for _, same in groupby(results)][:2] == [4, 4]


def memory_of_a_worker() -> int:
    """Returns the memory of a process that imports the modules of the workers in these tests."""
    code = (
        "import ovocr.labelgen.workers.worker_loop, numpy\n"
        "from ovocr.processes.memory import resident_memory\n"
        "print(resident_memory())"
    )
    return int(subprocess.check_output([sys.executable, "-c", code]))


def test_a_worker_over_its_memory_limit_is_replaced(handlers: ModuleType, tmp_path: Path):
    limits = WorkerLimits(memory=memory_of_a_worker() + 250 * MB)
    results, replaced = run(handlers.Instructed(tmp_path), [("hoard", 100 * MB)] * 12, limits)
    assert replaced == {Replaced.MEMORY: len(set(results)) - 1}
    assert 3 <= len(set(results)) <= 6


def test_a_worker_may_exceed_its_memory_limit_during_a_batch(handlers: ModuleType, tmp_path: Path):
    # Memory that is freed before the end of the batch does not count.
    limits = WorkerLimits(memory=memory_of_a_worker() + 100 * MB)
    results, replaced = run(handlers.Instructed(tmp_path), [("use", 300 * MB)] * 3, limits)
    assert (len(set(results)), replaced) == (1, {})


def test_workers_that_reach_their_item_limit_together_are_replaced_one_at_a_time(handlers: ModuleType, tmp_path: Path):
    results, replaced = run(handlers.Slow(tmp_path), [("interval", 0.05)] * 90, WorkerLimits(items=5), workers=3)
    starts = sorted({(began, ready) for _, began, ready, _ in results})
    # The last worker may find no item left.
    assert len(starts) - 3 <= replaced[Replaced.IMAGES] <= len(starts) - 2
    assert len(starts) >= 6
    # The first three start together. Each of the others starts when the previous one is ready.
    for (_, ready), (began, _) in pairwise(starts[3:]):
        assert began >= ready
    # While one starts, the others work.
    for began, ready in starts[3:6]:
        assert any(began < answered < ready for *_, answered in results)


def test_an_idle_worker_is_not_replaced(handlers: ModuleType, tmp_path: Path):
    _, replaced = run(handlers.Instructed(tmp_path), [("echo", 1)] * 3, WorkerLimits(items=3))
    assert replaced == {}


def test_a_memory_limit_that_is_too_low_is_an_error_before_the_first_item(handlers: ModuleType, tmp_path: Path):
    message = r"^--worker-memory: a worker uses 0\.\d GB before its first image, but the limit is 0\.0 GB; set a"
    with (
        pytest.raises(UsageError, match=message),
        WorkerPool(handlers.Instructed(tmp_path), workers=1, job_timeout_s=30, limits=WorkerLimits(memory=MB)) as pool,
    ):
        pool.wait_until_ready()


def test_items_sent_to_a_worker_that_died_idle_are_not_suspects(handlers: ModuleType, tmp_path: Path):
    with WorkerPool(handlers.Instructed(tmp_path), workers=1, job_timeout_s=30, batch_size=2) as pool:
        ((_, first),) = pool.run(iter([(0, Job(("pid", 0)))]))
        os.kill(first, signal.SIGKILL)
        time.sleep(0.3)
        # A suspect would be alone in its batch.
        assert [size for _, size in pool.run((n, Job(("batch size", n))) for n in range(4))] == [2, 2, 2, 2]
    assert pool.replaced == {Replaced.DIED: 1}


def test_a_worker_that_dies_idle_is_replaced_while_others_work(handlers: ModuleType, tmp_path: Path):
    def items(idle: int) -> Iterator[tuple[int, Job | None]]:
        yield 0, Job(("slow pid", None))  # the first worker's
        os.kill(idle, signal.SIGKILL)

    with WorkerPool(handlers.Instructed(tmp_path), workers=2, job_timeout_s=30) as pool:
        pids = {pid for _, pid in pool.run((n, Job(("slow pid", n))) for n in range(6))}
        ((_, first),) = pool.run(iter([(0, Job(("pid", 0)))]))
        (idle,) = pids - {first}
        assert list(pool.run(items(idle))) == [(0, first)]
        assert pool.replaced == {Replaced.DIED: 1}


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="needs Linux")
def test_the_kernel_kills_workers_before_their_parent(handlers: ModuleType, tmp_path: Path):
    own = int(Path("/proc/self/oom_score_adj").read_text())
    results, _ = run(handlers.Instructed(tmp_path), [("oom score", None)], WorkerLimits())
    assert results == [min(1000, own + 300)]


def test_replaced_workers_give_the_same_bytes_and_are_counted(
    built: tuple[LabelledDataSet, Totals], options: BuildOptions, tmp_path: Path
):
    totals = build_labels(replace(options, out=tmp_path / "out", worker_images=1), progress=False)
    for path in built[0].shard_files():
        if path.suffix != ".json":
            assert (tmp_path / "out" / path.relative_to(built[0].root)).read_bytes() == path.read_bytes(), path
    replaced = totals.to_json()["workers_replaced"]
    assert replaced["images"] >= 2
    assert replaced == {"images": replaced["images"], "memory": 0, "timeout": 0, "died": 0}
    last = totals.format().splitlines()[-1]
    assert last == f"worker processes replaced: {replaced['images']} after --worker-images"
    assert built[1].to_json()["workers_replaced"]["images"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--worker-memory", "much"], "--worker-memory much: an amount such as 500MB, 2GB or 4GiB is needed"),
        (["--worker-memory", "4"], "--worker-memory 4: at least 100MB is needed"),
        (["--worker-images", "0"], "--worker-images 0: must be at least 1"),
        (["--worker-memory", "100MB"], r"--worker-memory: a worker uses \d\.\d GB before its first image"),
    ],
)
def test_a_disallowed_limit_is_a_one_line_error_and_leaves_no_file(
    options: BuildOptions, tmp_path: Path, arguments: list[str], message: str
):
    command = ["build-labels", *options.sources, "--out", str(tmp_path / "out"), "--workers", "1", *arguments]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert re.fullmatch(f"ovocr: {message}.*\n", result.stderr)
    assert not (tmp_path / "out").exists()


def test_memory_limits_of_a_run():
    options = BuildOptions(sources=("x.tar",), out=Path("out"))
    assert WorkerLimits.of(options, 3) == WorkerLimits(items=10_000, memory=memory_share(3))
    packing = PackOptions(sources=("x.tar",), out=Path("out"), labels="t.csv", worker_memory=5 * 10**9)
    assert WorkerLimits.of(packing, 3) == WorkerLimits(items=1_000_000, memory=5 * 10**9)
    assert memory_share(1) == max(10**9, available_memory() // 2)
    assert memory_share(10**6) == 10**9


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "500000000\n"}, 500_000_000),
        ({"memory/memory.limit_in_bytes": "500000000\n"}, 500_000_000),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_memory_limit_of_a_container(files: dict[str, str], limit: int | None, tmp_path: Path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available_memory(tmp_path) == (limit or machine)


def test_resident_memory_is_read_from_the_system_or_is_the_peak(tmp_path: Path):
    before = resident_memory()
    held = b"x" * (200 * MB)
    assert resident_memory() >= before + 190 * MB
    assert resident_memory(tmp_path / "no proc") >= before + 190 * MB
    del held
