"""The stored text of labelled data sets, shard by shard: what vocabularies are made from and measured on."""

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.processes.cores import available_cores
from ovocr.processes.worker_setup import set_up_worker

_BATCH_ROWS = 256

Result = TypeVar("Result")


@dataclass(frozen=True)
class TextShard:
    """The stored text of one finished shard: its data set's folder and its number there."""

    root: Path
    number: int

    @property
    def path(self) -> Path:
        """The Parquet file of the pictures that were read."""
        return LabelledDataSet(self.root).ocr_path(self.number)


@dataclass(frozen=True)
class ImageText:
    """What was read in one picture. key: of the image in its source. lines: in reading order; none without text."""

    key: str
    lines: list[str]


def find_shards(roots: Iterable[Path]) -> list[TextShard]:
    """The finished shards of data sets, in order.

    Raises OvocrError where a root is no data set of ``build-labels``, has no finished shard, or is named twice.
    """
    shards: list[TextShard] = []
    seen: set[Path] = set()
    for root in roots:
        data_set = LabelledDataSet.open(root)
        if root.resolve() in seen:
            raise OvocrError(f"{root}: named twice; its words would be counted twice")
        seen.add(root.resolve())
        if "labels" in data_set.manifest():
            raise OvocrError(
                f"{root}: packed with class ids from a table, no text was read; `ovocr build-labels` reads it"
            )
        finished = data_set.finished_shards()
        if not finished:
            raise OvocrError(f"{root}: no finished shard yet; let `ovocr build-labels` finish one")
        shards += [TextShard(data_set.root, number) for number in finished]
    return shards


def read_images(shard: TextShard) -> Iterator[ImageText]:
    """The text of each picture of a shard, in order; a few in memory. Raises OvocrError where it cannot be read."""
    try:
        with pq.ParquetFile(shard.path) as table:
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=["key", "lines"]):
                yield from _images_of(batch)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise OvocrError(f"{shard.path}: the stored text cannot be read: {error}") from error


def _images_of(batch: pa.RecordBatch) -> Iterator[ImageText]:
    lines = batch.column("lines")
    texts = iter(lines.flatten().field("text").to_pylist())
    lengths = lines.value_lengths().to_pylist()
    for key, length in zip(batch.column("key").to_pylist(), lengths, strict=True):
        yield ImageText(key, list(islice(texts, length)))


def map_shards(
    work: Callable[[TextShard], Result],
    shards: list[TextShard],
    *,
    workers: int | None = None,
    progress: str | None = None,
) -> Iterator[Result]:
    """``work`` (picklable by name) of each shard, in their order, by processes of one thread each.

    workers: how many processes; None for one a core; a single one works in this process. progress: what a bar on a
    terminal's stderr is called; None for no bar. Raises what ``work`` raises, and OvocrError where a process dies.
    """
    count = min(workers or available_cores(), len(shards))
    with tqdm(total=len(shards), desc=progress, unit="shard", disable=not (progress and sys.stderr.isatty())) as bar:
        results = map(work, shards) if count <= 1 else _map_in_processes(work, shards, count)
        for result in results:
            yield result
            bar.update()


def _map_in_processes(work: Callable[[TextShard], Result], shards: list[TextShard], count: int) -> Iterator[Result]:
    waiting: deque[tuple[TextShard, Future[Result]]] = deque()
    todo = iter(shards)
    others = set(active_children())
    executor = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=set_up_worker)
    try:
        while True:
            # Results wait in memory for those of earlier shards: no more of them than processes, twice.
            for shard in islice(todo, 2 * count - len(waiting)):
                with _no_ctrl_c():
                    waiting.append((shard, executor.submit(work, shard)))
            if not waiting:
                return
            shard, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenProcessPool as error:
                raise OvocrError(
                    f"{shard.path}: a process that worked on this shard or one of the next was killed (out of "
                    "memory?); use fewer --workers"
                ) from error
    except BaseException:
        # Nobody wants what they work on, which may take minutes; waiting for it, Ctrl-C would seem to do nothing.
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Processes that the block starts never see Ctrl-C, of which they would print a traceback until ``set_up_worker``.

    This process sees it behind the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
