"""The executor for Ray: hands the shards of a run to actors, retries lost ones, and removes leftovers."""

import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked_within
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.shard_writer import remove_leftovers
from ovocr.labelgen.executors.ray.actor_pool import ActorPool, ShardResult
from ovocr.labelgen.executors.ray.cluster import ActorResources, check_capacity, connected
from ovocr.labelgen.executors.ray.head_watch import end_without_head
from ovocr.labelgen.executors.ray.shard_actor import ActorSettings
from ovocr.labelgen.executors.shard_run import NumberedShard, RunCounts, ShardRun
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.manifest import STARTING
from ovocr.labelgen.shards.progress import Progress, say
from ovocr.labelgen.workers.tasks import Task

SHARD_ATTEMPTS = 3
# A run that was killed a moment ago may still hold the lock of a shard.
LOCK_TIMEOUT_S = 10.0
# A lost actor may hold it longer: NFS keeps the locks of a dead machine for 90 s (RFC 8881, lease time), and a machine
# that is cut off but alive keeps its own. The shard is taken over then.
LOST_LOCK_TIMEOUT_S = 30.0
CLEANUP_LOCK_TIMEOUT_S = 10.0
VISIBLE_TIMEOUT_S = 60.0


@contextmanager
def open_ray_executor(options: RunOptions, task: Task, run: ShardRun) -> Iterator["RayExecutor"]:
    """Yields an executor with actors on the nodes of a Ray cluster. Raises OvocrError.

    task: the task as planned on this machine; every node must plan the same.
    """
    resources = _actor_resources(options, task)
    settings = ActorSettings(
        plan=task.planner(),
        description=task.describe(),
        options=options,
        folder=Path.cwd(),
        visible=_visible_paths(run.unfinished_shards),
        workers=resources.cpus,
    )
    with connected():
        end_without_head("finished shards are kept: run the same command again")
        check_capacity(resources)
        actors = ActorPool(settings, resources)
        executor = RayExecutor(actors, run)
        try:
            with actors:
                actors.resize(len(run.unfinished))
                yield executor
        finally:
            _remove_leftovers(run.data_set, executor.started)


class RayExecutor:
    """Makes the shards of one run with a pool of actors. started: numbers of the shards started and not finished."""

    def __init__(self, actors: ActorPool, run: ShardRun) -> None:
        self._actors = actors
        self._shards = dict(run.unfinished_shards)
        self._queue = deque(self._shards)
        self._unfinished = set(self._shards)
        self._losses: Counter[int] = Counter()
        self.started: set[int] = set()

    def wait_until_ready(self) -> None:
        """Returns as soon as one actor is ready. Raises OvocrError if a node differs from the driver's node."""
        while not self._actors.idle:
            self._step()

    def make_shards(self, run: ShardRun, progress: bool) -> None:
        """Makes the shards of the run. Raises OvocrError, including if a shard loses SHARD_ATTEMPTS actors."""
        with Progress([*self._shards.values()], progress) as bar, _marker_folder(run.destination) as marker:
            while self._unfinished:
                while self._queue and self._actors.idle:
                    number = self._queue.popleft()
                    was_lost = bool(self._losses[number])
                    lock_timeout_s = LOST_LOCK_TIMEOUT_S if was_lost else LOCK_TIMEOUT_S
                    self.started.add(number)
                    self._actors.start_shard((number, self._shards[number]), marker, lock_timeout_s, was_lost)
                for number, counts in self._step():
                    bar.begin(self._shards[number])
                    bar.image(counts.images)
                    bar.end(self._shards[number])
                    run.count(counts)
        if run.destination.keeps_shards:
            _wait_until_visible([run.data_set.stats_path(number) for number in self._shards])
        else:
            run.destination.see_finished()

    def _step(self) -> list[tuple[int, RunCounts]]:
        """Waits for results. Returns the shards that were finished."""
        self._actors.resize(len(self._unfinished))
        finished = []
        for result in self._actors.step():
            if result.counts is None:
                self._requeue(result)
            else:
                finished.append((result.number, result.counts))
                self._unfinished.remove(result.number)
                self.started.remove(result.number)
        return finished

    def _requeue(self, result: ShardResult) -> None:
        number = result.number
        self._losses[number] += 1
        if self._losses[number] == SHARD_ATTEMPTS:
            raise OvocrError(
                f"shard {number} ({self._shards[number].source}): {SHARD_ATTEMPTS} actors were lost while making it, "
                f"the last one on {result.node} ({result.lost}); run the same command again to resume"
            )
        say(f"ray: the actor making shard {number} on {result.node} was lost ({result.lost}); the shard is retried")
        self._queue.appendleft(number)


def _actor_resources(options: RunOptions, task: Task) -> ActorResources:
    """Returns one CPU per worker. If the engine uses GPUs, an actor gets one GPU and the workers that share it."""
    useful = task.useful_workers // task.gpus if task.useful_workers and task.gpus else 1
    return ActorResources(cpus=options.workers or useful, gpus=min(task.gpus, 1))


def _visible_paths(shards: list[NumberedShard]) -> tuple[str, ...]:
    """Returns one file per folder of the shards that is visible here: file systems are mounted at folders."""
    found: dict[str, str] = {}
    for _, shard in shards:
        path = os.path.join(shard.source, shard.names[0]) if shard.names else shard.source
        found.setdefault(os.path.dirname(path), path)
    return tuple(path for path in found.values() if os.path.lexists(path))


@contextmanager
def _marker_folder(destination: Destination) -> Iterator[Path | None]:
    """Yields a new folder in the data set: a node that sees it writes to the same file system.

    Yields None if the data set is in an object store, which all nodes reach by its URL.
    """
    if not destination.keeps_shards:
        yield None
        return
    marker = Path(tempfile.mkdtemp(prefix=f"{STARTING}ray-", dir=destination.data_set.root))
    try:
        yield marker
    finally:
        with suppress(OSError):
            marker.rmdir()


def _wait_until_visible(paths: list[Path]) -> None:
    """Waits for files written by other nodes, which NFS shows some seconds later. Raises OvocrError."""
    deadline = time.monotonic() + VISIBLE_TIMEOUT_S
    for path in paths:
        while not path.exists():
            if time.monotonic() > deadline:
                raise OvocrError(
                    f"{path}: was written by another node but is not visible on this one; run the command again"
                )
            time.sleep(0.2)
            os.listdir(path.parent)  # makes NFS ask its server


def _remove_leftovers(data_set: LabelledDataSet, numbers: set[int]) -> None:
    """Removes the unfinished files of actors that were ended or lost."""
    for number in sorted(numbers):
        # A lost actor may hold its shard for longer. The process that retries the shard removes its files.
        with suppress(OvocrError), locked_within(data_set.lock_path(number), "", CLEANUP_LOCK_TIMEOUT_S):
            remove_leftovers(data_set, number)
