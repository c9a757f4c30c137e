"""Applies a function to shards in processes."""

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children, get_context
from typing import TypeVar

from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.base.temporary import remove_folders_of_workers
from ovocr.processes.cores import available_cores
from ovocr.processes.worker_setup import set_up_worker

Shard = TypeVar("Shard")
Result = TypeVar("Result")


def map_shards(
    work: Callable[[Shard], Result],
    shards: list[Shard],
    *,
    workers: int | None = None,
    progress: str | None = None,
) -> Iterator[Result]:
    """Yields the result of ``work`` for each shard, in order, computed by processes of one thread each.

    work: picklable by name.
    shards: picklable; error messages name a shard by its ``str``.
    workers: number of processes; None for one per core. A single worker runs in this process.
    progress: title of the bar on a terminal's stderr; None for no bar.

    Raises the errors of ``work``, and OvocrError if a process dies.
    """
    count = min(workers or available_cores(), len(shards))
    with tqdm(total=len(shards), desc=progress, unit="shard", disable=not (progress and sys.stderr.isatty())) as bar:
        results = map(work, shards) if count <= 1 else _map_in_processes(work, shards, count)
        for result in results:
            yield result
            bar.update()


def _map_in_processes(work: Callable[[Shard], Result], shards: list[Shard], count: int) -> Iterator[Result]:
    waiting: deque[tuple[Shard, Future[Result]]] = deque()
    todo = iter(shards)
    others = set(active_children())
    executor = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=set_up_worker)
    try:
        while True:
            # Results wait in memory for the results of earlier shards: at most two per process.
            for shard in islice(todo, 2 * count - len(waiting)):
                with _block_ctrl_c():
                    waiting.append((shard, executor.submit(work, shard)))
            if not waiting:
                return
            shard, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenProcessPool as error:
                raise OvocrError(
                    f"{shard}: a process that worked on this shard or a later one was killed (out of memory?); "
                    "use fewer --workers"
                ) from error
    except BaseException:
        # Waiting for work that may take minutes would make Ctrl-C seem to do nothing.
        for process in set(active_children()) - others:
            process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)
        remove_folders_of_workers()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _block_ctrl_c() -> Iterator[None]:
    """Hides Ctrl-C from processes that the block starts: until ``set_up_worker`` they would print a traceback.

    This process receives it after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
