"""The interface of an executor, and the choice of one."""

from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Protocol

from ovocr.base.errors import MissingExtraError
from ovocr.labelgen.executors.local_executor import open_local_executor
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.options import RAY, RunOptions
from ovocr.labelgen.workers.tasks import Task


class Executor(Protocol):
    """Makes shards. Opening it starts its workers, closing it ends them."""

    def wait_until_ready(self) -> None:
        """Returns as soon as one worker is ready. Raises OvocrError if the task cannot be done."""

    def make_shards(self, run: ShardRun, progress: bool) -> None:
        """Makes the unfinished shards of the run. progress: show the progress on stderr. Raises OvocrError, OSError."""


def check_executor(name: str) -> None:
    """Raises MissingExtraError if the executor's package is not installed."""
    if name == RAY and find_spec("ray") is None:
        raise MissingExtraError(f"--executor {RAY}", "ray")


def open_executor(options: RunOptions, task: Task, run: ShardRun) -> AbstractContextManager[Executor]:
    """Opens the executor that the options name, for the unfinished shards of the run. Raises OvocrError."""
    if options.executor == RAY:
        from ovocr.labelgen.executors.ray import open_ray_executor

        return open_ray_executor(options, task, run)
    return open_local_executor(options, task, run)
