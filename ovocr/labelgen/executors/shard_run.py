"""A run over the shards of the input: those that are not finished are made, by pools of workers."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Outcome, quarantined
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.manifest import remove_start_files
from ovocr.labelgen.shards.progress import Progress, say
from ovocr.labelgen.shards.totals import Replaced, Totals
from ovocr.labelgen.sources import Found, Ignored, InputShard, Lost, read_shard
from ovocr.labelgen.workers.pool import Failure, Job, WorkerPool

# What becomes of an image: the work that gives its outcome, or the outcome where that is known without any.
Prepare = Callable[[Found], Job | Outcome]
# A shard of the input and its number among them, which is that of the output shard.
NumberedShard = tuple[int, InputShard]


@dataclass(frozen=True)
class _Begin:
    """Stands before the first image of a shard. finished: it has been made meanwhile; neither images nor end follow."""

    finished: bool


class _End:
    """Stands behind the last image of a shard."""


# What the pool passes along with a job: the image's key, without its bytes. Without a job: how it is counted.
_Note = tuple[str, Outcome | None] | Ignored | _Begin | _End


class Made(NamedTuple):
    """What was done of a run. images: in its shards. replaced: worker processes meanwhile, and why."""

    shards: int
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
        retry = options.retry_quarantined
        self.todo = [number for number in self._numbers if not _is_finished(self.data_set, number, retry)]
        self._made = self._images = 0
        self._replaced: Counter[Replaced] = Counter()

    @property
    def shards_to_do(self) -> list[NumberedShard]:
        """The shards ``todo``."""
        return [(number, self._shards[number]) for number in self.todo]

    def count(self, made: Made) -> None:
        """So much was done in shards of this run."""
        self._made += made.shards
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
        return Totals.of(
            (self.data_set.counts(number) for number in self._numbers),
            built=self._made,
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
    retry_quarantined: bool,
) -> Made:
    """Make these shards, one after the other, but those that another process has finished meanwhile.

    The pool's workers give an Outcome for each job of ``prepare``. Raises OvocrError, OSError.
    """
    data_set = destination.data_set
    made, images, replaced = 0, 0, pool.replaced.copy()
    finished = partial(_is_finished, data_set, retry_quarantined=retry_quarantined)
    results = pool.run(_stream(shards, prepare, finished))
    for number, shard in shards:
        _check_still_there(data_set)
        bar.begin(shard)
        if _passed_over(results, finished(number)):
            say(f"shard {number} has been made by another process meanwhile")
        else:
            destination.begin_shard(number)
            with ShardWriter(data_set, number, shard.entry, ignored=shard.ignored, with_text=with_text) as writer:
                _write_shard(writer, results, bar)
            destination.finish_shard(number)
            made += 1
            images += writer.counts.input
        bar.end(shard)
    return Made(made, images, pool.replaced - replaced)


def _passed_over(results: Iterator[tuple[_Note, Any]], finished: bool) -> bool:
    """Was the shard finished when its images were to be read, or is it now? They are behind us then."""
    begin, _ = next(results)
    if isinstance(begin, _Begin) and begin.finished:
        return True
    while finished and not isinstance(next(results)[0], _End):
        pass
    return finished


def _is_finished(data_set: LabelledDataSet, number: int, retry_quarantined: bool) -> bool:
    if not data_set.stats_path(number).exists():
        return False
    return not (retry_quarantined and data_set.counts(number).quarantined)


def _check_still_there(data_set: LabelledDataSet) -> None:
    """A folder that is removed during the run must not be begun anew by shards that nothing describes."""
    if not data_set.manifest_path.exists():
        raise OvocrError(f"{data_set}: its manifest.json has been removed during the run; start the command again")


def _stream(
    shards: Sequence[NumberedShard], prepare: Prepare, finished: Callable[[int], bool]
) -> Iterator[tuple[_Note, Job | None]]:
    """All items of all shards in order, images as jobs, each shard between a beginning and an end."""
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
            elif isinstance(prepared := prepare(item), Job):
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
