"""Worker processes that may hang or die without taking anything else with them."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.shards.totals import Replaced
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.loop import FAILED, serve

# Results wait in memory for those of earlier items, within these bounds.
WINDOW_BATCHES_PER_WORKER = 8
WINDOW_BYTES = 512 * 2**20
START_TIMEOUT_S = 300.0
START_ATTEMPTS = 3
STOP_TIMEOUT_S = 5.0
NO_LIMITS = WorkerLimits()


@dataclass(frozen=True)
class Job:
    """An item for a worker. size: bytes that the item takes in memory, and then its result, about."""

    item: Any
    size: int = 0


@dataclass(frozen=True)
class Failure:
    """No result: the worker was killed at the item's deadline (TIMEOUT), or workers died of it, twice (WORKER_DIED)."""

    reason: Reason
    detail: str


@dataclass(eq=False)
class _Slot:
    """A place in the ordered output."""

    note: Any
    item: Any
    size: int
    done: bool
    result: Any = None
    alone: bool = False  # its batch took too long: it is tried again in a batch of its own
    suspect: bool = False  # a worker died of its batch: it is tried again while no other item is in work


@dataclass(eq=False)
class _Worker:
    number: int
    process: Any
    connection: Connection
    deadline: float
    ready: bool = False
    batch: list[_Slot] = field(default_factory=list)  # what it is working on
    items: int = 0  # that it has done
    resident: int = 0  # bytes of memory that it held after its last batch
    attempts: int = field(default=1, kw_only=True)  # starts in a row that led to this one

    def is_due(self) -> bool:
        """Is it to say something before its deadline?"""
        return bool(self.batch) or not self.ready


class WorkerPool:
    """``workers`` processes of one thread, each with the product of ``factory``, both picklable by name.

    factory(number of the worker) is called in each worker and gives a function that takes a batch, a list of at most
    ``batch_size`` items, and returns the list of their results. A worker that takes longer than ``job_timeout_s`` for a
    batch is killed and replaced, and each item tried alone; an item that takes that long alone is given up. A worker
    that dies is replaced, and each item of its batch tried once more while no other item is in work. A worker past one
    of ``limits`` is replaced before its next batch. ``replaced`` counts them all. Used as a context manager; at its end
    no worker is left.
    """

    def __init__(
        self,
        factory: Callable[[int], Callable[[list[Any]], list[Any]]],
        *,
        workers: int,
        job_timeout_s: float,
        batch_size: int = 1,
        limits: WorkerLimits = NO_LIMITS,
    ) -> None:
        self.replaced: Counter[Replaced] = Counter()
        self._factory = factory
        self._count = workers
        self._batch_size = batch_size
        self._timeout_s = job_timeout_s
        self._limits = limits
        self._workers: list[_Worker] = []
        self._queue: deque[_Slot] = deque()
        self._suspects: deque[_Slot] = deque()

    def __enter__(self) -> "WorkerPool":
        try:
            for number in range(self._count):
                self._workers.append(_start(self._factory, number, attempts=1))
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            ready = [worker for worker in self._workers if worker.ready]
            for worker in ready:
                worker.connection.close()
            for worker in ready:
                worker.process.join(STOP_TIMEOUT_S)
        self._kill_all()

    def wait_until_ready(self) -> None:
        """Return as soon as one worker is ready. Raises OvocrError where workers cannot be started."""
        while not any(worker.ready for worker in self._workers):
            self._step()

    def run(self, items: Iterator[tuple[Any, Job | None]]) -> Iterator[tuple[Any, Any]]:
        """For each (note, job) in order: (note, result), the result a Failure where there is none.

        An item without a job passes through with the result None. Reads ahead of what it gives, within bounds. Raises
        OvocrError where workers cannot be started.
        """
        slots: deque[_Slot] = deque()
        source: Iterator[tuple[Any, Job | None]] | None = items
        while source is not None or slots:
            while source is not None and self._has_room(slots):
                following = next(source, None)
                if following is None:
                    source = None
                    break
                slots.append(self._accept(*following))
                self._dispatch()
            if slots and slots[0].done:
                first = slots.popleft()
                yield first.note, first.result
            elif slots:
                self._step()

    def _has_room(self, slots: deque[_Slot]) -> bool:
        if slots and slots[0].done:
            return False
        held = sum(slot.size for slot in slots)
        return len(slots) < WINDOW_BATCHES_PER_WORKER * self._batch_size * self._count and held < WINDOW_BYTES

    def _accept(self, note: Any, job: Job | None) -> _Slot:
        if job is None:
            return _Slot(note, None, 0, done=True)
        slot = _Slot(note, job.item, job.size, done=False)
        self._queue.append(slot)
        return slot

    def _dispatch(self) -> None:
        """Give idle workers their next batch; a suspect waits until no item is in work, and the others wait for it."""
        busy = [slot for worker in self._workers for slot in worker.batch]
        for worker in list(self._workers):
            if not worker.ready or worker.batch:
                continue
            if not self._may_work(busy):
                return
            if reason := self._worn(worker):
                self._replace(worker, reason)
            else:
                self._send(worker, [self._suspects.popleft()] if self._suspects else self._next_batch())
                busy += worker.batch

    def _may_work(self, busy: list[_Slot]) -> bool:
        """Is there an item that can be given out while those are in work?"""
        if self._suspects:
            return not busy
        return bool(self._queue) and not any(slot.suspect for slot in busy)

    def _worn(self, worker: _Worker) -> Replaced | None:
        """The limit that the worker is past, if it is to be replaced now."""
        reason = self._limits.passed(worker.items, worker.resident)
        # Workers come to that limit together, and are replaced one after another, so that most go on.
        if reason is Replaced.IMAGES and not all(other.ready for other in self._workers):
            return None
        return reason

    def _next_batch(self) -> list[_Slot]:
        """The next items of the queue; fewer as it runs empty, so that all workers end at about the same time."""
        size = min(self._batch_size, max(1, len(self._queue) // self._count))
        batch = [self._queue.popleft()]
        while len(batch) < size and not batch[0].alone and not self._queue[0].alone:
            batch.append(self._queue.popleft())
        return batch

    def _send(self, worker: _Worker, batch: list[_Slot]) -> None:
        try:
            worker.connection.send([slot.item for slot in batch])
        except (
            OSError
        ):  # it died before: the next step meets the end of its connection, and nothing of this is to blame
            (self._suspects if batch[0].suspect else self._queue).extendleft(reversed(batch))
            return
        worker.batch = batch
        worker.deadline = time.monotonic() + self._timeout_s

    def _step(self) -> None:
        """Wait for the next event: a message, a death, or a deadline."""
        self._dispatch()
        deadlines = [worker.deadline for worker in self._workers if worker.is_due()]
        # Without a deadline there is one that could not be sent a batch, whose end is heard at once.
        left = min(deadlines) - time.monotonic() if deadlines else 0.0
        heard = wait([worker.connection for worker in self._workers], max(0.0, left))
        for worker in [worker for worker in self._workers if worker.connection in heard]:
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
            else:
                self._take(worker, *message)
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.is_due() and worker.deadline <= now]:
            self._expire(worker)

    def _take(self, worker: _Worker, message: Any, resident: int) -> None:
        """Word of the worker's start, or the results of its batch, and how much memory it holds."""
        if not worker.ready:
            if message[0] == FAILED:
                raise OvocrError(message[1])
            self._limits.check_start(resident)
            worker.ready = True
            return
        for slot, result in zip(worker.batch, message, strict=True):
            _finish(slot, result)
        worker.items += len(worker.batch)
        worker.resident = resident
        worker.batch = []

    def _expire(self, worker: _Worker) -> None:
        """Kill a worker that is past its deadline."""
        batch = worker.batch
        if not batch:
            raise OvocrError(f"a worker process was not ready after {START_TIMEOUT_S:g} s")
        self._replace(worker, Replaced.TIMEOUT)
        if len(batch) == 1:
            _finish(batch[0], Failure(Reason.TIMEOUT, f"took longer than {self._timeout_s:g} s"))
            return
        for slot in batch:
            slot.alone = True
        self._queue.extendleft(reversed(batch))

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: of its batch, while it started, or idle."""
        batch = worker.batch
        how = _how_it_ended(worker)
        if not worker.ready and worker.attempts >= START_ATTEMPTS:
            raise OvocrError(f"worker processes end while they start ({how}); what they print says why")
        self._replace(worker, Replaced.DIED, attempts=1 if worker.ready else worker.attempts + 1)
        for slot in batch:
            if slot.suspect:
                _finish(slot, Failure(Reason.WORKER_DIED, f"its worker died twice ({how})"))
            else:
                slot.suspect = True
                self._suspects.append(slot)

    def _replace(self, worker: _Worker, reason: Replaced, attempts: int = 1) -> None:
        self.replaced[reason] += 1
        # The old one ends first: two at once would hold the memory of two.
        _kill(worker)
        self._workers[worker.number] = _start(self._factory, worker.number, attempts)

    def _kill_all(self) -> None:
        for worker in self._workers:
            _kill(worker)
        self._workers.clear()


def _start(factory: Callable[[int], Callable[[list[Any]], list[Any]]], number: int, attempts: int) -> _Worker:
    # Spawned, not forked: the parent may have threads, and a fork would copy their locks.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    with suppress(OSError):  # it has died already: a step meets the end of its connection
        ours.send(partial(factory, number))
    return _Worker(number, process, ours, time.monotonic() + START_TIMEOUT_S, attempts=attempts)


def _finish(slot: _Slot, result: Any) -> None:
    slot.done = True
    slot.result = result
    slot.item = None


def _how_it_ended(worker: _Worker) -> str:
    worker.process.join(STOP_TIMEOUT_S)
    code = worker.process.exitcode
    if code is None:
        return "it closed its connection"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _kill(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()
    worker.process.close()
