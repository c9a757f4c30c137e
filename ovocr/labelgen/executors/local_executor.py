"""Makes the shards of a run with worker processes of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from ovocr.labelgen.executors.make_shards import make_shards
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.progress import Progress
from ovocr.labelgen.shards.worker_count import worker_count
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.pool import WorkerPool
from ovocr.labelgen.workers.tasks import Task


@contextmanager
def open_local_executor(options: RunOptions, task: Task, run: ShardRun) -> Iterator["LocalExecutor"]:
    """Yields an executor with a pool of worker processes. Raises OvocrError."""
    workers = worker_count(options.workers, task.useful_workers)
    with task.start_workers(workers, run.data_set, WorkerLimits.of(options, workers)) as pool:
        yield LocalExecutor(task, pool, options.retry_quarantined)


class LocalExecutor:
    """Makes all shards with one pool, which is never idle between two shards."""

    def __init__(self, task: Task, pool: WorkerPool, retry_quarantined: bool) -> None:
        self._task = task
        self._pool = pool
        self._retry_quarantined = retry_quarantined

    def wait_until_ready(self) -> None:
        """Returns as soon as one worker is ready. Raises OvocrError if workers cannot be started."""
        self._pool.wait_until_ready()

    def make_shards(self, run: ShardRun, progress: bool) -> None:
        """Makes the unfinished shards of the run. progress: show the progress on stderr. Raises OvocrError, OSError."""
        shards = run.unfinished_shards
        with Progress([shard for _, shard in shards], progress) as bar:
            run.count(make_shards(run.destination, shards, self._pool, self._task, bar, self._retry_quarantined))
