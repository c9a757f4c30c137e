"""Who makes the shards of a run: workers of this machine, or actors on the nodes of a Ray cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

from ovocr.base.errors import MissingExtraError
from ovocr.labelgen.executors.shard_run import ShardRun, make_shards
from ovocr.labelgen.options import RAY, RunOptions
from ovocr.labelgen.shards.progress import Progress
from ovocr.labelgen.shards.worker_count import worker_count
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.pool import WorkerPool
from ovocr.labelgen.workers.work import Work


class Executor(Protocol):
    """Makes shards. Its workers have been started when it is opened, and have ended when it is closed."""

    def wait_until_ready(self) -> None:
        """Return as soon as one worker is ready. Raises OvocrError where the work cannot be done."""

    def make_shards(self, run: ShardRun, progress: bool) -> None:
        """Make the unfinished shards of the run. progress: show how far it is. Raises OvocrError, OSError."""


def check_executor(name: str) -> None:
    """Raises MissingExtraError where its package is not installed."""
    if name == RAY and find_spec("ray") is None:
        raise MissingExtraError(f"--executor {RAY}", "ray")


@contextmanager
def open_executor(options: RunOptions, work: Work, run: ShardRun) -> Iterator[Executor]:
    """The executor that the options name, for the unfinished shards of this run. Raises OvocrError, as it says."""
    if options.executor == RAY:
        from ovocr.labelgen.executors.ray import open_ray_executor

        with open_ray_executor(options, work, run) as executor:
            yield executor
        return
    workers = worker_count(options.workers, work.workers)
    with work.start_workers(workers, run.data_set, WorkerLimits.of(options, workers)) as pool:
        yield _LocalExecutor(work, pool, options.retry_quarantined)


class _LocalExecutor:
    """One pool, which goes from one shard to the next without a pause."""

    def __init__(self, work: Work, pool: WorkerPool, retry_quarantined: bool) -> None:
        self._work = work
        self._pool = pool
        self._retry_quarantined = retry_quarantined

    def wait_until_ready(self) -> None:
        self._pool.wait_until_ready()

    def make_shards(self, run: ShardRun, progress: bool) -> None:
        shards = run.shards_to_do
        with Progress([shard for _, shard in shards], progress) as bar:
            run.count(
                make_shards(
                    run.destination,
                    shards,
                    self._pool,
                    self._work.prepare,
                    bar,
                    with_text=self._work.with_text,
                    retry_quarantined=self._retry_quarantined,
                )
            )
