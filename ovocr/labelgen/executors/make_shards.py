"""Makes shards with a pool of workers: reads sources ahead, and writes the outcomes in order."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Outcome, quarantined
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.labelgen.executors.shard_run import NumberedShard, RunCounts, is_finished
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.progress import Progress, say
from ovocr.labelgen.sources import Ignored, InputShard, Lost, read_shard
from ovocr.labelgen.workers.pool import Failure, Job, WorkerPool
from ovocr.labelgen.workers.tasks import Task


@dataclass(frozen=True)
class _Begin:
    """Precedes the first image of a shard. finished: True if another process made the shard; nothing follows."""

    finished: bool


class _End:
    """Follows the last image of a shard."""


# The pool returns a note with each result: the image's key, and its outcome if it is known without a job.
_Note = tuple[str, Outcome | None] | Ignored | _Begin | _End


def make_shards(
    destination: Destination,
    shards: Sequence[NumberedShard],
    pool: WorkerPool,
    task: Task,
    bar: Progress,
    retry_quarantined: bool,
) -> RunCounts:
    """Makes these shards in order, except those that another process finishes meanwhile.

    pool: workers of the task. Raises OvocrError, OSError.
    """
    data_set = destination.data_set
    made, images, replaced = 0, 0, Counter(pool.replaced)
    finished = partial(is_finished, data_set, retry_quarantined=retry_quarantined)
    results = pool.run(_read_shards(shards, task, finished))
    manifest = _CurrentManifest(data_set)
    for number, shard in shards:
        generation = manifest.generation(number, shard)
        bar.begin(shard)
        writer = ShardWriter(
            data_set,
            number,
            shard.entry,
            ignored=shard.ignored,
            with_text=task.with_text,
            generation=generation,
        )
        if _make_shard(writer, partial(finished, number), partial(destination.begin_shard, number), results, bar):
            destination.finish_shard(number)
            made += 1
            images += writer.counts.input
        else:
            say(f"shard {number} was made by another process meanwhile")
        bar.end(shard)
    return RunCounts(made, images, pool.replaced - replaced)


def _make_shard(
    writer: ShardWriter,
    is_finished: Callable[[], bool],
    begin: Callable[[], None],
    results: Iterator[tuple[_Note, Any]],
    bar: Progress,
) -> bool:
    """Writes the next shard of the results. Returns False if another process has finished it meanwhile.

    begin: is called before the shard is written.
    """
    note, _ = next(results)
    if isinstance(note, _Begin) and note.finished:
        return False
    if is_finished():
        _drain(results)
        return False
    with writer:
        if is_finished():  # between the last look and the writer's lock
            writer.leave()
            _drain(results)
            return False
        begin()
        _write_shard(writer, results, bar)
    return True


def _drain(results: Iterator[tuple[_Note, Any]]) -> None:
    """Skips the images of a shard."""
    while not isinstance(next(results)[0], _End):
        pass


class _CurrentManifest:
    """The manifest of a data set during a run, in which other commands may add shards to it."""

    def __init__(self, data_set: LabelledDataSet) -> None:
        self._data_set = data_set
        self._version: object = None

    def generation(self, number: int, shard: InputShard) -> int:
        """Returns the index of the generation in which the shard is made.

        Raises OvocrError if the data set was removed or another command has given the shard other images: no shard may
        be written that the manifest does not list.
        """
        path = self._data_set.manifest_path
        try:
            status = path.stat()
        except FileNotFoundError:
            raise OvocrError(
                f"{self._data_set}: its manifest.json was removed during the run; start the command again"
            ) from None
        version = (status.st_mtime_ns, status.st_ino)
        if version != self._version:  # a manifest of thousands of shards is parsed once
            self._manifest, self._version = self._data_set.manifest(), version
        listed = self._manifest.shards
        if number >= len(listed) or listed[number] != shard.entry:
            raise OvocrError(
                f"{self._data_set}: another command has changed shard {number} during the run; start the command again"
            )
        return len(self._manifest.history) - 1


def _read_shards(
    shards: Sequence[NumberedShard], task: Task, finished: Callable[[int], bool]
) -> Iterator[tuple[_Note, Job | None]]:
    """Yields all items of all shards in order, images as jobs, each shard between a begin and an end."""
    for number, shard in shards:
        begin = _Begin(finished(number))
        yield begin, None
        if begin.finished:
            continue
        for item in read_shard(shard):
            if isinstance(item, Ignored):
                yield item, None
            elif isinstance(item, Lost):
                yield (item.key, quarantined(item.reason, item.detail)), None
            elif isinstance(prepared := task.prepare(item), Job):
                yield (item.key, None), prepared
            else:
                yield (item.key, prepared), None
        yield _End(), None


def _write_shard(writer: ShardWriter, results: Iterator[tuple[_Note, Any]], bar: Progress) -> None:
    for note, result in results:
        if isinstance(note, _Begin | _End):
            return
        if isinstance(note, Ignored):
            writer.ignore()
            continue
        key, known = note
        writer.add(key, known if known is not None else _outcome(result))
        bar.image()


def _outcome(result: Any) -> Outcome:
    if isinstance(result, Failure):
        return quarantined(result.reason, result.detail)
    outcome: Outcome = result
    return outcome
