"""The actor: a pool of workers on a node of the cluster, which makes one shard at a time."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked_within
from ovocr.labelgen.executors.make_shards import make_shards
from ovocr.labelgen.executors.ray.head_watch import end_without_head
from ovocr.labelgen.executors.shard_run import NumberedShard, RunCounts
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.interruption import file_error
from ovocr.labelgen.shards.manifest import find_difference
from ovocr.labelgen.shards.progress import Progress
from ovocr.labelgen.shards.store_destination import open_destination
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.pool import WorkerPool
from ovocr.labelgen.workers.tasks import Task
from ovocr.processes.cores import available_cores

_PARENT_CHECK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class ActorSettings:
    """Settings of an actor. Picklable.

    plan: function that plans the task. description: description of the driver's task; the actor's must be equal.
    options: options of the run. folder: the driver's current folder. visible: paths that the driver sees.
    workers: number of workers to start.
    """

    plan: Callable[[], Task]
    description: dict[str, Any]
    options: RunOptions
    folder: Path
    visible: tuple[str, ...]
    workers: int


class ShardActor:
    """An actor. Its methods return an OvocrError instead of raising it: Ray would add a traceback to the message."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._node = node_name()
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        end_without_head("")

    @cached_property
    def _destination(self) -> Destination:
        # Not in the constructor, whose errors are not one line.
        return open_destination(self._settings.options.out).__enter__()

    def prepare(self) -> str | OvocrError:
        """Starts the workers. Returns the name of this node, or an OvocrError if the node differs from the driver's."""
        # Ray's main program. Spawned workers would load it again, 50 MB each.
        vars(sys.modules["__main__"]).pop("__file__", None)
        with suppress(OSError):  # then relative paths are not visible, which _check_visible reports
            os.chdir(self._settings.folder)
        try:
            self._check_visible()
            self._task = self._settings.plan()
            self._check_same()
            options, workers = self._settings.options, self._settings.workers
            # One share per core: other actors of the node use as much memory.
            limits = WorkerLimits.of(options, max(workers, available_cores()))
            pool = self._task.start_workers(workers, self._destination.data_set, limits)
            self._pool: WorkerPool = pool.__enter__()
            self._pool.wait_until_ready()
        except OvocrError as error:
            return OvocrError(f"{self._node}: {error}")
        except ImportError as error:
            return OvocrError(f"{self._node}: {error}; install the same packages on every node")
        return self._node

    def make(
        self, shard: NumberedShard, marker: Path | None, lock_timeout_s: float, was_lost: bool
    ) -> RunCounts | OvocrError:
        """Makes a shard.

        marker: a folder that the driver made in the data set; None if that is in an object store.
        lock_timeout_s: seconds to wait while another process holds the shard. was_lost: an actor was lost while making
        it; if that still holds the shard afterwards, cut off but alive, the shard is taken over.
        """
        out, destination = self._settings.options.out, self._destination
        try:
            if marker is not None and not marker.exists():
                raise OvocrError(f"{self._node}: does not see what the command writes to {out}: no shared file system")
            busy = f"{out}: shard {shard[0]} is being made by another process; wait until it ends"
            lock = destination.data_set.lock_path(shard[0])
            try:
                with locked_within(lock, busy, lock_timeout_s):
                    pass
            except OvocrError:
                if not was_lost:
                    raise
                lock.unlink(missing_ok=True)  # the folder of this writer keeps the other one from changing the shard
            destination.join()
            retry = self._settings.options.retry_quarantined
            with Progress([shard[1]], shown=False) as bar:
                counts = make_shards(destination, [shard], self._pool, self._task, bar, retry)
            destination.flush()
            return counts
        except OvocrError as error:
            return error
        except OSError as error:
            return file_error(error, out)

    def close(self) -> None:
        """Removes this node's temporary files. No other method may be called afterwards."""
        self._destination.__exit__(None, None, None)

    def _check_visible(self) -> None:
        for path in self._settings.visible:
            if not os.path.lexists(path):
                raise OvocrError(f"does not see {path}, which the command sees; put sources on a shared file system")

    def _check_same(self) -> None:
        if difference := find_difference(self._task.describe(), self._settings.description):
            raise OvocrError(f"would write different bytes: {difference}; install the same there")


def _end_with_parent(parent: int) -> None:
    """Ends this process when its raylet ends: Ray considers the node dead, but the actor would continue to write."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)


def node_name() -> str:
    """Returns the name of this node for messages."""
    import ray

    return f"node {socket.gethostname()} ({ray.util.get_node_ip_address()})"
