"""A run over the shards of the input: those that are not finished are made, by a pool of workers."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovocr.cores import available_cores
from ovocr.errors import OvocrError
from ovocr.labelgen.destination import Destination
from ovocr.labelgen.manifest import remove_start_files
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.outcome import Outcome, quarantined
from ovocr.labelgen.pool import Failure, Job, WorkerPool
from ovocr.labelgen.progress import Progress, say
from ovocr.labelgen.shard import ShardWriter
from ovocr.labelgen.sources import Found, Ignored, InputShard, Lost, read_shard
from ovocr.labelgen.totals import Totals
from ovocr.labelgen.worker_limits import Replaced
from ovocr.termination import terminable

# What becomes of an image: the work that gives its outcome, or the outcome where that is known without any.
Prepare = Callable[[Found], Job | Outcome]


class _End:
    """Stands behind the last image of a shard."""


# What the pool passes along with a job: the image's key, without its bytes. Without a job: how it is counted.
_Note = tuple[str, Outcome | None] | Ignored | _End


class ShardRun:
    """The shards of one run, and the data set that they are made in.

    destination: where they are made; nothing is written before ``make_shards``. todo: numbers of those that are not
    finished, in order. with_text: whether the pictures are read, so that each shard has a file of their lines.
    """

    def __init__(
        self, options: RunOptions, shards: list[InputShard], destination: Destination, *, with_text: bool = True
    ) -> None:
        self.data_set = destination.data_set
        self._destination = destination
        self._shards = shards
        self._with_text = with_text
        self._numbers = range(options.shard_slice[0], len(shards), options.shard_slice[1])
        self.todo = [number for number in self._numbers if not self._is_finished(number, options.retry_quarantined)]
        self._images = 0
        self._replaced: Counter[Replaced] = Counter()

    def _is_finished(self, number: int, retry_quarantined: bool) -> bool:
        if not self.data_set.stats_path(number).exists():
            return False
        return not (retry_quarantined and self.data_set.stats(number)["quarantined"])

    def make_shards(self, pool: WorkerPool, prepare: Prepare, progress: bool) -> None:
        """Make the shards ``todo``. The pool's workers give an Outcome for each job of ``prepare``."""
        with Progress([self._shards[number] for number in self.todo], progress) as bar:
            results = pool.run(self._stream(prepare))
            for number in self.todo:
                shard = self._shards[number]
                self._check_still_there()
                bar.begin(shard)
                self._destination.begin_shard(number)
                with ShardWriter(self.data_set, number, shard, with_text=self._with_text) as writer:
                    _write_shard(writer, results, bar)
                self._destination.finish_shard(number)
                bar.end(shard)
                self._images += writer.counts.input
        self._replaced = pool.replaced

    def _check_still_there(self) -> None:
        """A folder that is removed during the run must not be begun anew by shards that nothing describes."""
        if not self.data_set.manifest_path.exists():
            raise OvocrError(
                f"{self.data_set.root}: its manifest.json has been removed during the run; start the command again"
            )

    def _stream(self, prepare: Prepare) -> Iterator[tuple[_Note, Job | None]]:
        """All items of all shards in order, images as jobs, each shard closed by an end."""
        for number in self.todo:
            for item in read_shard(self._shards[number]):
                if isinstance(item, Ignored):
                    yield item, None
                elif isinstance(item, Lost):
                    yield (item.key, quarantined(item.reason, item.detail)), None
                elif isinstance(prepared := prepare(item), Job):
                    yield (item.key, None), prepared
                else:
                    yield (item.key, prepared), None
            yield _End(), None

    def is_complete(self) -> bool:
        """Are all shards of the data set finished, those of other slices too?"""
        return len(self.data_set.finished_shards()) == len(self._shards)

    def tidy(self) -> None:
        """Remove what killed processes may have left, once nobody needs it."""
        if self.is_complete():
            remove_start_files(self.data_set)

    def totals(self, seconds: float) -> Totals:
        """What the run reports. seconds: how long it took."""
        stats = (self.data_set.stats(number) for number in self._numbers)
        return Totals.of(
            stats,
            built=len(self.todo),
            images_built=self._images,
            seconds=seconds,
            with_text=self._with_text,
            replaced=self._replaced,
        )


def _write_shard(writer: ShardWriter, results: Iterator[tuple[_Note, Any]], bar: Progress) -> None:
    for note, result in results:
        if isinstance(note, _End):
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


def worker_count(wanted: int | None, of_use: int | None = None) -> int:
    """wanted: by the user. of_use: by the engine, where that is not one for each core."""
    cores = available_cores()
    if wanted is not None and wanted > cores:
        say(f"--workers {wanted}: this process may use {cores} cores, so there are {cores} workers of one thread")
    return min(wanted or of_use or cores, cores)


@contextmanager
def stoppable(out: Path | str) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a file system that fails end the block with an OvocrError; files and workers are cleared."""
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        raise OvocrError(f"stopped; finished shards are kept in {out}: the same command goes on behind them") from None
    except OSError as error:
        # Arrow puts its own words for it.
        reason = os.strerror(error.errno) if error.errno is not None else error
        raise OvocrError(f"{error.filename or out}: {reason}") from error
