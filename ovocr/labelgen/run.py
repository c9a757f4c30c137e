"""A run over the shards of the input: those that are not finished are made, by pools of workers."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ovocr.cores import available_cores
from ovocr.dataset import LabelledDataSet
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
# A shard of the input and its number among them, which is that of the output shard.
NumberedShard = tuple[int, InputShard]


class _End:
    """Stands behind the last image of a shard."""


# What the pool passes along with a job: the image's key, without its bytes. Without a job: how it is counted.
_Note = tuple[str, Outcome | None] | Ignored | _End


class Made(NamedTuple):
    """What was done of a run. images: in its shards. replaced: worker processes meanwhile, and why."""

    images: int
    replaced: Counter[Replaced]


class ShardRun:
    """The shards of one run, and the data set that they are made in.

    destination: where they are made. todo: numbers of those that are not finished, in order. with_text: whether the
    pictures are read, so that each shard has a file of their lines.
    """

    def __init__(
        self, options: RunOptions, shards: list[InputShard], destination: Destination, *, with_text: bool = True
    ) -> None:
        self.data_set = destination.data_set
        self.destination = destination
        self._shards = shards
        self.with_text = with_text
        self._numbers = range(options.shard_slice[0], len(shards), options.shard_slice[1])
        self.todo = [number for number in self._numbers if not self._is_finished(number, options.retry_quarantined)]
        self._images = 0
        self._replaced: Counter[Replaced] = Counter()

    def _is_finished(self, number: int, retry_quarantined: bool) -> bool:
        if not self.data_set.stats_path(number).exists():
            return False
        return not (retry_quarantined and self.data_set.stats(number)["quarantined"])

    @property
    def shards_to_do(self) -> list[NumberedShard]:
        """The shards ``todo``."""
        return [(number, self._shards[number]) for number in self.todo]

    def count(self, made: Made) -> None:
        """So much was done in shards of this run."""
        self._images += made.images
        self._replaced += made.replaced

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
            with_text=self.with_text,
            replaced=self._replaced,
        )


def make_shards(
    destination: Destination,
    shards: Sequence[NumberedShard],
    pool: WorkerPool,
    prepare: Prepare,
    bar: Progress,
    *,
    with_text: bool,
) -> Made:
    """Make these shards, one after the other.

    The pool's workers give an Outcome for each job of ``prepare``. Raises OvocrError, OSError.
    """
    images, replaced = 0, pool.replaced.copy()
    results = pool.run(_stream(shards, prepare))
    for number, shard in shards:
        _check_still_there(destination.data_set)
        bar.begin(shard)
        destination.begin_shard(number)
        with ShardWriter(destination.data_set, number, shard, with_text=with_text) as writer:
            _write_shard(writer, results, bar)
        destination.finish_shard(number)
        bar.end(shard)
        images += writer.counts.input
    return Made(images, pool.replaced - replaced)


def _check_still_there(data_set: LabelledDataSet) -> None:
    """A folder that is removed during the run must not be begun anew by shards that nothing describes."""
    if not data_set.manifest_path.exists():
        raise OvocrError(f"{data_set}: its manifest.json has been removed during the run; start the command again")


def _stream(shards: Sequence[NumberedShard], prepare: Prepare) -> Iterator[tuple[_Note, Job | None]]:
    """All items of all shards in order, images as jobs, each shard closed by an end."""
    for _, shard in shards:
        for item in read_shard(shard):
            if isinstance(item, Ignored):
                yield item, None
            elif isinstance(item, Lost):
                yield (item.key, quarantined(item.reason, item.detail)), None
            elif isinstance(prepared := prepare(item), Job):
                yield (item.key, None), prepared
            else:
                yield (item.key, prepared), None
        yield _End(), None


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
        raise file_error(error, out) from error


def file_error(error: OSError, out: Path | str) -> OvocrError:
    """What a file system's failure is to the user, in a run that writes to ``out``."""
    # Arrow puts its own words for it.
    reason = os.strerror(error.errno) if error.errno is not None else error
    return OvocrError(f"{error.filename or out}: {reason}")
