"""The actor: holds a pool of workers on a node of the cluster, and makes one shard at a time as a local run does."""

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
from ovocr.labelgen.executors.ray.locks import locked_in_time
from ovocr.labelgen.executors.shard_run import Made, NumberedShard, make_shards
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.interruption import file_error
from ovocr.labelgen.shards.manifest import find_difference
from ovocr.labelgen.shards.progress import Progress
from ovocr.labelgen.shards.store_destination import open_destination
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.pool import WorkerPool
from ovocr.labelgen.workers.work import Work
from ovocr.processes.cores import available_cores

_LOOK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What an actor is told once.

    plan: makes the work. description: what the driver's work says of itself, which the actor's has to say too.
    options: of the run. folder: where the command was started. seen: paths that the driver sees.
    workers: how many to start.
    """

    plan: Callable[[], Work]
    description: dict[str, Any]
    options: RunOptions
    folder: Path
    seen: tuple[str, ...]
    workers: int


class ShardMaker:
    """Its methods give an OvocrError where they fail, for what an actor raises comes back with a traceback in it."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._node = node_name()
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()

    @cached_property
    def _destination(self) -> Destination:
        # Not made with the actor: what goes wrong then cannot be told in a line.
        return open_destination(self._assignment.options.out).__enter__()

    def prepare(self) -> str | OvocrError:
        """Start the workers; the name of this node. An OvocrError where it is not like the driver's."""
        # Ray's program, which spawned workers would load again: 50 MB each.
        vars(sys.modules["__main__"]).pop("__file__", None)
        with suppress(OSError):  # then relative paths are not seen here, which is said below
            os.chdir(self._assignment.folder)
        try:
            self._check_seen()
            self._work = self._assignment.plan()
            self._check_same()
            options, workers = self._assignment.options, self._assignment.workers
            # Other actors of the node hold as much.
            limits = WorkerLimits.of(options, max(workers, available_cores()))
            pool = self._work.start_workers(workers, self._destination.data_set, limits)
            self._pool: WorkerPool = pool.__enter__()
            self._pool.wait_until_ready()
        except OvocrError as error:
            return OvocrError(f"{self._node}: {error}")
        except ImportError as error:
            return OvocrError(f"{self._node}: {error}; install the same packages on every node")
        return self._node

    def make(self, shard: NumberedShard, token: Path | None, patience_s: float) -> Made | OvocrError:
        """Make this shard.

        token: a path that the driver has made in the data set, if that is in a folder. patience_s: how long another
        process may hold the shard.
        """
        out, destination = self._assignment.options.out, self._destination
        try:
            if token is not None and not token.exists():
                raise OvocrError(f"{self._node}: does not see what the command writes to {out}: no shared file system")
            busy = f"{out}: shard {shard[0]} is being made by another process; wait for it, or for its end"
            with locked_in_time(destination.data_set.lock_path(shard[0]), busy, patience_s):
                pass
            destination.join()
            with Progress([shard[1]], shown=False) as bar:
                made = make_shards(
                    destination,
                    [shard],
                    self._pool,
                    self._work.prepare,
                    bar,
                    with_text=self._work.with_text,
                    retry_quarantined=self._assignment.options.retry_quarantined,
                )
            destination.flush()
            return made
        except OvocrError as error:
            return error
        except OSError as error:
            return file_error(error, out)

    def leave(self) -> None:
        """Remove what is in this node's folder for temporary files; nothing follows."""
        self._destination.__exit__(None, None, None)

    def _check_seen(self) -> None:
        for path in self._assignment.seen:
            if not os.path.lexists(path):
                raise OvocrError(f"does not see {path}, which the command sees; sources belong on a shared file system")

    def _check_same(self) -> None:
        if difference := find_difference(self._work.describe(), self._assignment.description):
            raise OvocrError(f"would make other bytes: {difference}; install the same there")


def _end_with_parent(parent: int) -> None:
    """A node whose raylet has died is dead to Ray, but its actors are not: they would go on writing."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def node_name() -> str:
    """This node, for people."""
    import ray

    return f"node {socket.gethostname()} ({ray.util.get_node_ip_address()})"
