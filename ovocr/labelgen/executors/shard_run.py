"""The shards of a run, the unfinished ones among them, and the counts of the run."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.manifest import remove_start_files
from ovocr.labelgen.shards.run_plan import RunPlan
from ovocr.labelgen.shards.totals import Replaced, Totals
from ovocr.labelgen.sources import InputShard

# The number of a shard, which is the same for input and output, and its input shard.
NumberedShard = tuple[int, InputShard]


class RunCounts(NamedTuple):
    """Shards made, images in them, and worker processes replaced meanwhile."""

    shards: int
    images: int
    replaced: Counter[Replaced]


class ShardRun:
    """The shards of one run and the destination that they are written to.

    unfinished: numbers of the unfinished shards, in order. with_text: True if images are read; then each shard has
    a file of their lines.
    """

    def __init__(self, options: RunOptions, plan: RunPlan, destination: Destination, *, with_text: bool) -> None:
        self.data_set = destination.data_set
        self.destination = destination
        self.plan = plan
        self._with_text = with_text
        index, count = options.shard_slice
        self._numbers = [number for number in range(index, len(plan.shards), count) if number not in plan.left_out]
        self._is_whole = count == 1
        self.unfinished = [
            number for number in self._numbers if not is_finished(self.data_set, number, options.retry_quarantined)
        ]
        self._counts = RunCounts(0, 0, Counter())

    @property
    def unfinished_shards(self) -> list[NumberedShard]:
        """The unfinished shards with their numbers."""
        return [(number, self.plan.shards[number]) for number in self.unfinished]

    def count(self, counts: RunCounts) -> None:
        """Adds to the counts of this run."""
        shards, images, replaced = self._counts
        self._counts = RunCounts(shards + counts.shards, images + counts.images, replaced + counts.replaced)

    def is_complete(self) -> bool:
        """Returns True if all shards of the data set are finished, including the shards of other slices."""
        return len(self.data_set.finished_shards()) == len(self.plan.shards)

    def remove_temporary_files(self) -> None:
        """Removes files left by killed processes, if the data set is complete."""
        if self.is_complete():
            remove_start_files(self.data_set)

    def totals(self, seconds: float) -> Totals:
        """Returns the totals of the run. seconds: its duration."""
        counts = {number: self.data_set.counts(number) for number in self._numbers}
        damaged = [
            self.plan.shards[number].entry.source
            for number in self._numbers
            if counts[number].reasons[Reason.DAMAGED_SOURCE]
        ]
        totals = Totals.of(
            counts.values(),
            built=self._counts.shards,
            images_built=self._counts.images,
            seconds=seconds,
            with_text=self._with_text,
            replaced=self._counts.replaced,
        )
        finished = set(self.data_set.finished_shards())
        elsewhere = [self.plan.shards[number].entry.source for number in sorted(self.plan.left_out - finished)]
        return replace(
            totals,
            damaged=tuple(dict.fromkeys(damaged)),
            is_slice=not self._is_whole,
            unfinished_elsewhere=tuple(dict.fromkeys(elsewhere)),
        )


def is_finished(data_set: LabelledDataSet, number: int, retry_quarantined: bool) -> bool:
    """Returns True if the shard is finished. retry_quarantined: a shard with quarantined images is unfinished."""
    if not data_set.stats_path(number).exists():
        return False
    return not (retry_quarantined and data_set.counts(number).quarantined)
