"""The driver: hands the shards of a run to actors, again where one was lost, and clears up behind them."""

import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.shard_writer import remove_leftovers
from ovocr.labelgen.executors.ray.actors import Crew, Ended
from ovocr.labelgen.executors.ray.cluster import Need, check_room, connected
from ovocr.labelgen.executors.ray.locks import locked_in_time
from ovocr.labelgen.executors.ray.shard_actor import Assignment
from ovocr.labelgen.executors.shard_run import Made, NumberedShard, ShardRun
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.manifest import STARTING
from ovocr.labelgen.shards.progress import Progress, say
from ovocr.labelgen.workers.work import Work

SHARD_ATTEMPTS = 3
# A run that was killed a moment ago may still hold a shard.
FIRST_PATIENCE_S = 10.0
# So may an actor that cannot be reached; NFS keeps the locks of a dead machine for 90 s (RFC 8881, lease time).
LOST_PATIENCE_S = 120.0
END_PATIENCE_S = 10.0
VISIBLE_S = 60.0


@contextmanager
def open_ray_executor(options: RunOptions, work: Work, run: ShardRun) -> Iterator["RayExecutor"]:
    """Actors on the nodes of a Ray cluster for the unfinished shards of the run. Raises OvocrError.

    work: of this machine; every node has to be able to do the same.
    """
    need = _need(options, work)
    assignment = Assignment(
        plan=work.elsewhere(),
        description=work.describe(),
        options=options,
        folder=Path.cwd(),
        seen=_seen_paths(run.shards_to_do),
        workers=need.cpus,
    )
    with connected():
        check_room(need)
        crew = Crew(assignment, need)
        executor = RayExecutor(crew, run)
        try:
            with crew:
                crew.fit(len(run.todo))
                yield executor
        finally:
            _clear_up(run.data_set, executor.begun)


class RayExecutor:
    """Makes the shards of one run with a crew of actors. begun: numbers of those that are begun and not finished."""

    def __init__(self, crew: Crew, run: ShardRun) -> None:
        self._crew = crew
        self._shards = dict(run.shards_to_do)
        self._queue = deque(self._shards)
        self._left = set(self._shards)
        self._losses: Counter[int] = Counter()
        self.begun: set[int] = set()

    def wait_until_ready(self) -> None:
        """Return as soon as one actor is ready. Raises OvocrError where a node is not as this one."""
        while not self._crew.idle:
            self._step()

    def make_shards(self, run: ShardRun, progress: bool) -> None:
        """Make the shards of the run. Raises OvocrError of one, or where its actors are lost again and again."""
        with Progress([*self._shards.values()], progress) as bar, _token(run.destination) as token:
            while self._left:
                while self._queue and self._crew.idle:
                    number = self._queue.popleft()
                    patience_s = LOST_PATIENCE_S if self._losses[number] else FIRST_PATIENCE_S
                    self.begun.add(number)
                    self._crew.give((number, self._shards[number]), token, patience_s)
                for number, made in self._step():
                    bar.begin(self._shards[number])
                    bar.image(made.images)
                    bar.end(self._shards[number])
                    run.count(made)
        if run.destination.keeps_shards:
            _wait_until_visible([run.data_set.stats_path(number) for number in self._shards])
        else:
            run.destination.see_finished()

    def _step(self) -> list[tuple[int, Made]]:
        """Wait for news; numbers of shards that are finished by now."""
        self._crew.fit(len(self._left))
        finished = []
        for ended in self._crew.step():
            if ended.made is None:
                self._put_back(ended)
            else:
                finished.append((ended.number, ended.made))
                self._left.remove(ended.number)
                self.begun.remove(ended.number)
        return finished

    def _put_back(self, ended: Ended) -> None:
        number = ended.number
        self._losses[number] += 1
        if self._losses[number] == SHARD_ATTEMPTS:
            raise OvocrError(
                f"shard {number} ({self._shards[number].source}): {SHARD_ATTEMPTS} actors were lost as they made it, "
                f"the last one on {ended.node} ({ended.lost}); the same command goes on behind the finished shards"
            )
        say(f"ray: the actor that made shard {number} on {ended.node} was lost ({ended.lost}); the shard is made again")
        self._queue.appendleft(number)


def _need(options: RunOptions, work: Work) -> Need:
    """Of an actor: a CPU for each worker; where the engine has GPUs, one, and the workers that take turns on it."""
    of_use = work.workers // work.gpus if work.workers and work.gpus else 1
    return Need(cpus=options.workers or of_use, gpus=min(work.gpus, 1))


def _seen_paths(shards: list[NumberedShard]) -> tuple[str, ...]:
    """One of the shards' files in each folder, if it can be seen here: file systems are mounted at folders."""
    found: dict[str, str] = {}
    for _, shard in shards:
        path = os.path.join(shard.source, shard.names[0]) if shard.names else shard.source
        found.setdefault(os.path.dirname(path), path)
    return tuple(path for path in found.values() if os.path.lexists(path))


@contextmanager
def _token(destination: Destination) -> Iterator[Path | None]:
    """A folder in the data set for as long as the block runs: who sees it writes to the same file system.

    None where the data set is in an object store, which all nodes reach by its URL.
    """
    if not destination.keeps_shards:
        yield None
        return
    token = Path(tempfile.mkdtemp(prefix=f"{STARTING}ray-", dir=destination.data_set.root))
    try:
        yield token
    finally:
        with suppress(OSError):
            token.rmdir()


def _wait_until_visible(paths: list[Path]) -> None:
    """NFS shows what another machine wrote some seconds later. Raises OvocrError where it does not come."""
    deadline = time.monotonic() + VISIBLE_S
    for path in paths:
        while not path.exists():
            if time.monotonic() > deadline:
                raise OvocrError(
                    f"{path}: was written by another node and is not seen on this one; run the command again"
                )
            time.sleep(0.2)
            os.listdir(path.parent)  # makes NFS ask its server


def _clear_up(data_set: LabelledDataSet, numbers: set[int]) -> None:
    """Remove what actors were writing as they were ended or lost."""
    for number in sorted(numbers):
        # One that cannot be reached may hold its shard for longer: whoever makes that again clears it up.
        with suppress(OvocrError), locked_in_time(data_set.lock_path(number), "", END_PATIENCE_S):
            if not data_set.stats_path(number).exists():
                remove_leftovers(data_set, number)
