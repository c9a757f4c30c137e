"""The pool with worker processes that hang, die and are killed."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.workers.pool import Failure, Job, WorkerPool


def run(
    handlers: ModuleType, folder: Path, items: list, workers: int = 2, timeout_s: float = 30.0, batch_size: int = 1
) -> list:
    factory = handlers.Instructed(folder)
    with WorkerPool(factory, workers=workers, job_timeout_s=timeout_s, batch_size=batch_size) as pool:
        return list(pool.run((number, None if item is None else Job(item)) for number, item in enumerate(items)))


def test_results_keep_the_order_of_items_with_and_without_jobs(handlers: ModuleType, tmp_path: Path):
    items = [("slow", "a"), ("fast", "b"), None, ("fast", "c"), ("slow", "d"), None]
    assert run(handlers, tmp_path, items) == [(0, "a"), (1, "b"), (2, None), (3, "c"), (4, "d"), (5, None)]


def test_no_items(handlers: ModuleType, tmp_path: Path):
    assert run(handlers, tmp_path, []) == []


def test_wait_until_ready_waits_for_one_worker(handlers: ModuleType, tmp_path: Path):
    with WorkerPool(handlers.Instructed(tmp_path), workers=2, job_timeout_s=30) as pool:
        pool.wait_until_ready()
        pool.wait_until_ready()
        assert [result for _, result in pool.run((n, Job(("echo", n))) for n in range(4))] == [0, 1, 2, 3]
    with (
        pytest.raises(OvocrError, match="^models/rec: no model there$"),
        WorkerPool(handlers.RaisesAtStart(), workers=2, job_timeout_s=30) as pool,
    ):
        pool.wait_until_ready()


def test_a_worker_past_its_deadline_is_killed_and_only_its_item_fails(handlers: ModuleType, tmp_path: Path):
    results = dict(run(handlers, tmp_path, [("pid", 0), ("hang", 1), ("echo", 2), ("echo", 3)], timeout_s=1.0))
    assert results[1] == Failure(Reason.TIMEOUT, "took longer than 1 s")
    assert (results[2], results[3]) == (2, 3)


def test_an_item_that_kills_its_worker_fails_after_one_retry(handlers: ModuleType, tmp_path: Path):
    results = dict(run(handlers, tmp_path, [("echo", 0), ("die", 1), ("echo", 2)]))
    assert results == {0: 0, 1: Failure(Reason.WORKER_DIED, "its worker died twice (signal 9)"), 2: 2}


def test_an_unexpected_exception_counts_as_a_death(handlers: ModuleType, tmp_path: Path):
    results = dict(run(handlers, tmp_path, [("raise", 0), ("echo", 1)], workers=1))
    assert results == {0: Failure(Reason.WORKER_DIED, "its worker died twice (exit code 1)"), 1: 1}


def test_an_item_whose_worker_died_is_retried_alone(handlers: ModuleType, tmp_path: Path):
    items = [("log", "a"), ("die once", "b"), ("log", "c"), ("log", "d"), ("log", "e")]
    assert [result for _, result in run(handlers, tmp_path, items)] == ["a", "b", "c", "d", "e"]
    log = (tmp_path / "log").read_text().splitlines()
    assert log[log.index("start b") + 1] == "end b"
    assert len(log) == 10


def test_a_killed_worker_is_replaced(handlers: ModuleType, tmp_path: Path):
    with WorkerPool(handlers.Instructed(tmp_path), workers=1, job_timeout_s=30) as pool:
        (_, first), (_, second) = pool.run((n, Job(("pid", n))) for n in range(2))
        assert first == second
        os.kill(first, 9)
        ((_, third),) = pool.run(iter([(0, Job(("pid", 0)))]))
    assert third != first


def test_reading_ahead_is_bounded(handlers: ModuleType, tmp_path: Path):
    taken = []

    def source():
        for number in range(500):
            taken.append(number)
            yield number, Job(("slow" if number == 0 else "echo", number))

    with WorkerPool(handlers.Instructed(tmp_path), workers=1, job_timeout_s=30) as pool:
        results = pool.run(source())
        assert next(results) == (0, 0)
        assert len(taken) <= 8
        assert [number for number, _ in results] == list(range(1, 500))


def test_batches_become_small_at_the_end(handlers: ModuleType, tmp_path: Path):
    # All 21 wait when the first worker is ready: 4, 4, 4, 4, 21 - 16 = 5 for two workers: 2, then 3 left: 1, 1, 1.
    results = run(handlers, tmp_path, [("batch size", None)] * 21, batch_size=4)
    sizes = [size for _, size in results]
    assert sizes.count(4) == 16
    assert sizes[-3:] == [1, 1, 1]


def test_each_worker_gets_its_number(handlers: ModuleType, tmp_path: Path):
    assert {number for _, number in run(handlers, tmp_path, [("number", None)] * 12)} == {0, 1}


def test_only_the_slow_item_of_a_batch_fails(handlers: ModuleType, tmp_path: Path):
    items = [("echo", 0), ("hang", 1), ("echo", 2), ("echo", 3), *[("echo", n) for n in range(4, 12)]]
    results = dict(run(handlers, tmp_path, items, timeout_s=1.0, batch_size=4))
    assert results.pop(1) == Failure(Reason.TIMEOUT, "took longer than 1 s")
    assert results == {n: n for n in range(12) if n != 1}


def test_only_the_killing_item_of_a_batch_fails(handlers: ModuleType, tmp_path: Path):
    items = [("echo", 0), ("die", 1), ("echo", 2), ("echo", 3), *[("echo", n) for n in range(4, 12)]]
    results = dict(run(handlers, tmp_path, items, batch_size=4))
    assert results.pop(1) == Failure(Reason.WORKER_DIED, "its worker died twice (signal 9)")
    assert results == {n: n for n in range(12) if n != 1}


def test_workers_run_on_one_thread(handlers: ModuleType, tmp_path: Path):
    assert run(handlers, tmp_path, [("threads", None)], workers=1) == [(0, "1")]


def test_an_error_of_the_factory_is_raised(handlers: ModuleType):
    with (
        pytest.raises(OvocrError, match=r"^models/rec: no model there$"),
        WorkerPool(handlers.RaisesAtStart(), workers=1, job_timeout_s=30) as pool,
    ):
        list(pool.run(iter([(0, Job("x"))])))


def test_workers_that_die_while_starting_end_the_run(handlers: ModuleType):
    with (
        pytest.raises(OvocrError, match="die while starting .exit code 3."),
        WorkerPool(handlers.DiesAtStart(), workers=1, job_timeout_s=30) as pool,
    ):
        list(pool.run(iter([(0, Job("x"))])))


def test_workers_end_when_their_parent_is_killed(handlers: ModuleType, tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pool_handlers import Instructed\n"
        "from ovocr.labelgen.workers.pool import Job, WorkerPool\n"
        "if __name__ == '__main__':\n"
        f"    with WorkerPool(Instructed(Path({str(tmp_path)!r})), workers=2, job_timeout_s=60) as pool:\n"
        "        items = [Job(('pid', 0)), Job(('hang', 0)), Job(('hang', 0))]\n"
        "        for _, pid in pool.run((n, item) for n, item in enumerate(items)):\n"
        "            print(pid, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(worker)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
