"""``ovocr split``: divides a labelled data set into two, a training part and a held-out part."""

import hashlib
import json
import time
from dataclasses import asdict, replace
from functools import cached_property

import numpy as np

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.files import locked
from ovocr.base.plural import counted
from ovocr.dataset.access.opening import open_data_set
from ovocr.dataset.holdout.group_table import GroupTable
from ovocr.dataset.holdout.shard_parts import ShardOfPart, WholeShard
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import HELD_OUT, IDF, PARTS, TRAIN, Manifest, SplitEntry, WholeDataSet
from ovocr.dataset.statistics import FileDescription, ShardCounts
from ovocr.labelgen.options import SplitOptions
from ovocr.labelgen.shards.destination import check_destination
from ovocr.labelgen.shards.interruption import stoppable
from ovocr.labelgen.shards.manifest import find_difference, remove_start_files, settle_configuration
from ovocr.labelgen.shards.progress import Progress
from ovocr.labelgen.shards.worker_count import worker_count
from ovocr.labelgen.sources.input_shard import InputShard
from ovocr.labelgen.split.shard import ShardResult, ShardTask, split_shard
from ovocr.labelgen.split.sides import Sides, decide_sides
from ovocr.labelgen.split.totals import PartTotals, SplitTotals
from ovocr.labelgen.tagging.run_words import Words, stored_frequencies, stored_vocabulary
from ovocr.processes.shard_map import map_shards

# Minimum number of images per process, because a process takes about two seconds to start.
GROUPED_AT_LEAST = 500_000
DIVIDED_AT_LEAST = 20_000
_LOCK = ".split.lock"


def split(options: SplitOptions, progress: bool) -> SplitTotals:
    """Writes the data sets ``out/train`` and ``out/held-out`` with the images of ``options.source``.

    Skips finished shards. progress: show bars on stderr. Raises OvocrError for errors that the user can correct.
    Finished shards are kept, and the same call resumes after them.
    """
    start = time.monotonic()
    with stoppable(options.out), (source := open_data_set(options.source)).errors():
        run = _Split(options, source, progress)
        run.check()
        with locked(options.out / _LOCK, f"--out {options.out}: another command is splitting a data set into it"):
            run.settle()
            results = run.make_shards()
        return run.totals(results, time.monotonic() - start)


class _Split:
    """A run of ``split``. Raises OvocrError if the data set is not finished, or a part would be empty."""

    def __init__(self, options: SplitOptions, source: LabelledDataSet, progress: bool) -> None:
        self._options, self._progress = options, progress
        self._source = source
        self._manifest = self._source.manifest()
        self._shards = WholeShard.all_of(self._source, self._manifest)
        self._images = sum(shard.counts.input for shard in self._shards)
        self._workers = worker_count(options.workers)
        self._parts = {part: LabelledDataSet(options.out / part) for part in PARTS}
        self._table = None
        if options.groups is not None:
            self._table = GroupTable(options.groups, column=options.grouped_by)
        self._sides = self._decide()
        self._tasks = self._plan(self._sides)

    def _decide(self) -> Sides:
        options = self._options
        return decide_sides(
            self._shards,
            share=options.share,
            by=options.grouped_by,
            seed=options.seed,
            table=self._table,
            workers=self._processes(GROUPED_AT_LEAST),
            progress=self._progress,
        )

    def _plan(self, sides: Sides) -> list[ShardTask]:
        """Returns the work of each shard. The shards of a part are numbered in the order of the whole data set."""
        numbers = dict.fromkeys(PARTS, 0)
        tasks = []
        for shard, own in zip(self._shards, sides.shards, strict=True):
            parts = {}
            for part in PARTS:
                # A shard without images belongs to the training part.
                if own.kept(part).any() or (part == TRAIN and not own.images):
                    parts[part] = ShardOfPart(self._parts[part], numbers[part])
                    numbers[part] += 1
            tasks.append(ShardTask(shard, own, parts))
        return tasks

    def check(self) -> None:
        """Raises OvocrError if a part would be empty, or the folder has another data set. Writes nothing."""
        self._check_rule()
        self._sides.check(self._options.share, self._table)
        for part, data_set in self._parts.items():
            check_destination(data_set, [])
            if data_set.manifest_path.exists():
                self._check_same(part, data_set)

    def _check_rule(self) -> None:
        """Raises UsageError if the data set is a part that the same hashes have divided: it lacks the lowest ones."""
        before = self._manifest.split
        if before is not None and (before.by, before.seed) == (self._options.grouped_by, self._options.seed):
            raise UsageError(
                f"--seed {self._options.seed}: {self._source} is the {before.part} part of a split with this seed, so "
                "its shares would be wrong; choose another --seed"
            )

    def _check_same(self, part: str, data_set: LabelledDataSet) -> None:
        stored, own = data_set.manifest().split, self._entry(part)
        if stored is None:
            raise OvocrError(f"--out {self._options.out}: {data_set} is another data set; choose another --out")
        if difference := find_difference(stored.settings, own.settings):
            raise OvocrError(
                f"--out {self._options.out}: split with other settings: {difference}; repeat those, or choose another "
                "--out"
            )
        if stored.whole != own.whole:
            raise OvocrError(
                f"{self._source}: has changed since it was split: it had {_size(stored.whole)} and has "
                f"{_size(own.whole)}; choose another --out, or remove {self._options.out} and repeat the command: "
                "what is held out stays held out"
            )

    def _entry(self, part: str) -> SplitEntry:
        options = self._options
        groups = None if options.groups is None else FileDescription.of(options.groups).sha256
        return SplitEntry(
            part=part,
            share=options.share,
            by=options.grouped_by,
            seed=options.seed,
            groups_sha256=groups,
            whole=self._whole,
        )

    @cached_property
    def _whole(self) -> WholeDataSet:
        files = [
            {name: asdict(file) for name, file in sorted(shard.statistics.files.items())} for shard in self._shards
        ]
        return WholeDataSet(
            manifest_sha256=FileDescription.of(self._source.manifest_path).sha256,
            files_sha256=hashlib.sha256(json.dumps(files).encode()).hexdigest(),
            shards=len(self._shards),
            images=self._images,
        )

    def settle(self) -> None:
        """Writes the configuration of new parts."""
        words = None
        if self._manifest.has_text:
            frequencies = stored_frequencies(self._source) if self._manifest.policy.weighting == IDF else None
            words = Words(stored_vocabulary(self._source), frequencies)
        for part, data_set in self._parts.items():
            settle_configuration(data_set, self._describe(part), words)

    def _describe(self, part: str) -> Manifest:
        """Returns the manifest of a part."""
        numbers = [task.whole.number for task in self._tasks if part in task.parts]
        generations = tuple(
            replace(generation, shards=sum(number < generation.shards for number in numbers))
            for generation in self._manifest.generations
        )
        shards = tuple(self._manifest.shards[number] for number in numbers)
        return replace(self._manifest, shards=shards, generations=generations, split=self._entry(part))

    def make_shards(self) -> "_Made":
        """Writes the unfinished shards of both parts."""
        inputs = [
            InputShard(source=shard.entry.source, kind=shard.entry.kind, images=shard.counts.input)
            for shard in self._shards
        ]
        done = _Made(self._manifest.num_classes)
        with Progress(inputs, self._progress) as bar:
            results = map_shards(split_shard, self._tasks, workers=self._processes(DIVIDED_AT_LEAST))
            for result in bar.track(results, lambda result: result.images):
                done.add(result)
        for data_set in self._parts.values():
            remove_start_files(data_set)
        return done

    def _processes(self, at_least: int) -> int:
        """Returns the number of processes to start. at_least: minimum number of images per process."""
        return max(1, min(self._workers, self._images // at_least))

    def totals(self, made: "_Made", seconds: float) -> SplitTotals:
        """Returns the report of the run."""
        seen, groups = made.seen, self._sides.groups
        parts = {}
        for part, data_set in self._parts.items():
            counts = [data_set.counts(task.parts[part].number) for task in self._tasks if part in task.parts]
            total, words = sum(counts, ShardCounts()), int(seen[part].sum())
            parts[part] = PartTotals(counts=total, groups=groups[part], words=words, shards=len(counts))
        return SplitTotals(
            by=self._options.grouped_by,
            parts=parts,
            words_only_held_out=int((seen[HELD_OUT] & ~seen[TRAIN]).sum()),
            images_without_group=None if self._table is None else self._sides.without_row,
            linked=made.linked,
            copied=made.copied,
            divided=made.divided,
            has_text=self._manifest.has_text,
            seconds=seconds,
        )


class _Made:
    """Sums over the shards of a run. seen: whether an image of a part has a class id, by part: bool [classes]."""

    def __init__(self, num_classes: int) -> None:
        self.seen = {part: np.zeros(num_classes, bool) for part in PARTS}
        self.linked = self.copied = self.divided = 0

    def add(self, result: ShardResult) -> None:
        """Adds a shard."""
        for part, class_ids in result.class_ids.items():
            self.seen[part][class_ids] = True
        self.linked += result.linked is True
        self.copied += result.linked is False
        self.divided += bool(result.written) and result.linked is None


def _size(whole: WholeDataSet) -> str:
    return f"{counted(whole.images, 'image')} in {counted(whole.shards, 'shard')}"
