"""A pool of worker processes that survives workers that hang or die."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.shards.totals import Replaced
from ovocr.labelgen.workers.limits import WorkerLimits
from ovocr.labelgen.workers.worker_loop import FAILED
from ovocr.labelgen.workers.worker_process import START_TIMEOUT_S, STOP_TIMEOUT_S, Factory, WorkerProcess

# Finished results wait in memory for the results of earlier items. Reading ahead stops at either of these bounds.
WINDOW_BATCHES_PER_WORKER = 8
WINDOW_BYTES = 512 * 2**20
START_ATTEMPTS = 3
NO_LIMITS = WorkerLimits()


@dataclass(frozen=True)
class Job:
    """An item for a worker. size: approximate size of the item and of its result, in bytes."""

    item: Any
    size: int = 0


@dataclass(frozen=True)
class Failure:
    """Replaces the result of an item that took too long (TIMEOUT) or killed two workers (WORKER_DIED)."""

    reason: Reason
    detail: str


@dataclass(eq=False)
class _Entry:
    """An item of the pool's input, in order, and its result.

    alone: retry in a batch of its own, because its batch took too long. suspect: retry while no other item is
    processed, because a worker died of its batch.
    """

    note: Any
    item: Any
    size: int
    done: bool
    result: Any = None
    alone: bool = False
    suspect: bool = False

    def finish(self, result: Any) -> None:
        self.done = True
        self.result = result
        self.item = None


_Worker = WorkerProcess[_Entry]


class WorkerPool:
    """``workers`` processes of one thread. A context manager that ends all workers.

    factory is called in each worker with the worker's number. It returns a function that maps a batch, a list of at
    most ``batch_size`` items, to the list of their results. Both must be picklable by name. A worker that
    takes longer than ``job_timeout_s`` for a batch is killed and replaced, and each item is retried alone; an item that
    takes that long alone fails. A worker that dies is replaced, and each item of its batch is retried once, while
    no other item is processed. A worker over one of ``limits`` is replaced before its next batch. ``replaced`` counts
    all replacements.
    """

    def __init__(
        self,
        factory: Factory,
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
        self._queue: deque[_Entry] = deque()
        self._suspects: deque[_Entry] = deque()

    def __enter__(self) -> "WorkerPool":
        try:
            for number in range(self._count):
                self._workers.append(_Worker.start(self._factory, number))
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
        """Returns as soon as one worker is ready. Raises OvocrError if workers cannot be started."""
        while not any(worker.ready for worker in self._workers):
            self._step()

    def run(self, items: Iterator[tuple[Any, Job | None]]) -> Iterator[tuple[Any, Any]]:
        """Yields (note, result) for each (note, job), in order. The result is a Failure if the item failed.

        An item without a job passes through with the result None. Reads ahead of the results, within bounds. Raises
        OvocrError if workers cannot be started.
        """
        entries: deque[_Entry] = deque()
        source: Iterator[tuple[Any, Job | None]] | None = items
        while source is not None or entries:
            while source is not None and self._has_room(entries):
                following = next(source, None)
                if following is None:
                    source = None
                    break
                entries.append(self._accept(*following))
                self._dispatch()
            if entries and entries[0].done:
                first = entries.popleft()
                yield first.note, first.result
            elif entries:
                self._step()

    def _has_room(self, entries: deque[_Entry]) -> bool:
        if entries and entries[0].done:
            return False
        size = sum(entry.size for entry in entries)
        return len(entries) < WINDOW_BATCHES_PER_WORKER * self._batch_size * self._count and size < WINDOW_BYTES

    def _accept(self, note: Any, job: Job | None) -> _Entry:
        if job is None:
            return _Entry(note, None, 0, done=True)
        entry = _Entry(note, job.item, job.size, done=False)
        self._queue.append(entry)
        return entry

    def _dispatch(self) -> None:
        """Gives idle workers their next batch. A suspect is processed while no other item is."""
        busy = [entry for worker in self._workers for entry in worker.batch]
        for worker in list(self._workers):
            if not worker.ready or worker.batch:
                continue
            if not self._has_work(busy):
                return
            if reason := self._limit_exceeded(worker):
                self._replace(worker, reason)
            else:
                self._send(worker, [self._suspects.popleft()] if self._suspects else self._next_batch())
                busy += worker.batch

    def _has_work(self, busy: list[_Entry]) -> bool:
        """Returns True if an item can be processed in addition to the busy ones."""
        if self._suspects:
            return not busy
        return bool(self._queue) and not any(entry.suspect for entry in busy)

    def _limit_exceeded(self, worker: _Worker) -> Replaced | None:
        """Returns the limit that the worker exceeds, or None if it need not be replaced now."""
        reason = self._limits.exceeded(worker.items, worker.resident)
        # Workers reach this limit together. They are replaced one at a time, to keep the others busy.
        if reason is Replaced.IMAGES and not all(other.ready for other in self._workers):
            return None
        return reason

    def _next_batch(self) -> list[_Entry]:
        """Takes the next items of the queue: fewer as it runs empty, to let all workers finish together."""
        size = min(self._batch_size, max(1, len(self._queue) // self._count))
        batch = [self._queue.popleft()]
        while len(batch) < size and not batch[0].alone and not self._queue[0].alone:
            batch.append(self._queue.popleft())
        return batch

    def _send(self, worker: _Worker, batch: list[_Entry]) -> None:
        try:
            worker.connection.send([entry.item for entry in batch])
        except OSError:
            # The worker died idle, which the next step notices. Its new batch is not to blame.
            (self._suspects if batch[0].suspect else self._queue).extendleft(reversed(batch))
            return
        worker.batch = batch
        worker.deadline = time.monotonic() + self._timeout_s

    def _step(self) -> None:
        """Waits for the next event, a message, a death or a deadline, and handles it."""
        self._dispatch()
        deadlines = [worker.deadline for worker in self._workers if worker.is_due()]
        # No worker is due only if one could not be sent its batch. Its closed connection is noticed immediately.
        left = min(deadlines) - time.monotonic() if deadlines else 0.0
        readable = wait([worker.connection for worker in self._workers], max(0.0, left))
        for worker in [worker for worker in self._workers if worker.connection in readable]:
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._handle_death(worker)
            else:
                self._handle_message(worker, *message)
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.is_due() and worker.deadline <= now]:
            self._handle_timeout(worker)

    def _handle_message(self, worker: _Worker, message: Any, resident: int) -> None:
        """Handles the start of a worker or the results of its batch. resident: bytes of memory that it uses."""
        if not worker.ready:
            if message[0] == FAILED:
                raise OvocrError(message[1])
            self._limits.check_start(resident)
            worker.ready = True
            return
        for entry, result in zip(worker.batch, message, strict=True):
            entry.finish(result)
        worker.items += len(worker.batch)
        worker.resident = resident
        worker.batch = []

    def _handle_timeout(self, worker: _Worker) -> None:
        """Replaces a worker that is past its deadline."""
        batch = worker.batch
        if not batch:
            raise OvocrError(f"a worker process was not ready after {START_TIMEOUT_S:g} s")
        self._replace(worker, Replaced.TIMEOUT)
        if len(batch) == 1:
            batch[0].finish(Failure(Reason.TIMEOUT, f"took longer than {self._timeout_s:g} s"))
            return
        for entry in batch:
            entry.alone = True
        self._queue.extendleft(reversed(batch))

    def _handle_death(self, worker: _Worker) -> None:
        """Replaces a worker that died while starting, while processing a batch, or idle."""
        batch = worker.batch
        how = worker.exit_text()
        if not worker.ready and worker.starts >= START_ATTEMPTS:
            raise OvocrError(f"worker processes die while starting ({how}); see their output above")
        self._replace(worker, Replaced.DIED, starts=1 if worker.ready else worker.starts + 1)
        for entry in batch:
            if entry.suspect:
                entry.finish(Failure(Reason.WORKER_DIED, f"its worker died twice ({how})"))
            else:
                entry.suspect = True
                self._suspects.append(entry)

    def _replace(self, worker: _Worker, reason: Replaced, starts: int = 1) -> None:
        self.replaced[reason] += 1
        worker.kill()  # before the new one starts, to save memory
        self._workers[worker.number] = _Worker.start(self._factory, worker.number, starts)

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
