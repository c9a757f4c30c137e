"""Implements ``ovocr pack-labels``: loads the table, plans the sources, runs over the shards, returns totals."""

import time
from dataclasses import dataclass, replace
from typing import Any

from ovocr.base.plural import counted
from ovocr.base.request_count import StoreUse
from ovocr.labelgen.executors.executor import check_executor, open_executor
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.options import PackOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.interruption import stoppable
from ovocr.labelgen.shards.manifest import AllowedChanges, describe_pack
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.shards.run_plan import plan_run
from ovocr.labelgen.shards.store_destination import open_destination
from ovocr.labelgen.sources import InputShard, plan_shards
from ovocr.labelgen.table_keys import TableTotals, check_keys_meet, count_keys
from ovocr.labelgen.workers.tasks import PackTask, require_decoders


@dataclass(frozen=True, kw_only=True)
class PackTotals(TableTotals):
    """The totals of a packing run. num_classes: number of classes; class ids are smaller."""

    num_classes: int

    def to_json(self) -> dict[str, Any]:
        """Returns the totals for ``--json``."""
        return {**super().to_json(), "num_classes": self.num_classes}

    def _counts(self) -> list[str]:
        tags, classes = counted(self.counts["tags"], "tag"), counted(self.num_classes, "class", "classes")
        return [f"{tags} (distinct in each image) of {classes}"]


def pack_labels(options: PackOptions, progress: bool) -> PackTotals:
    """Writes all images of the sources, with their class ids from a table, to the data set ``options.out``.

    Skips finished shards. progress: show the progress on stderr. Raises OvocrError, including on Ctrl-C and SIGTERM;
    the same call then resumes after the finished shards. Errors of the table are raised before anything is written.
    """
    start, store_use = time.monotonic(), StoreUse()
    with stoppable(options.out):
        check_executor(options.executor)
        require_decoders("pack-labels")
        shards = plan_shards(options.sources, options.shard_size, options.source_options, say, options.append)
        task = PackTask.plan(options)
        with open_destination(options.out) as destination:
            totals = _pack(options, shards, task, destination, progress, start)
        return replace(totals, repeated=store_use.repeated())  # the last shard is uploaded now


def _pack(
    options: PackOptions,
    shards: list[InputShard],
    task: PackTask,
    destination: Destination,
    progress: bool,
    start: float,
) -> PackTotals:
    """Runs over the shards and returns the totals. start: time when the command began, on the monotonic clock."""
    table = task.table
    plan = plan_run(destination, shards, options)
    run = ShardRun(options, plan, destination, with_text=False)
    if run.unfinished:
        destination.check(shards)
        if options.append or not run.data_set.finished_shards():
            check_keys_meet([shard for _, shard in run.unfinished_shards], table)
    changes = AllowedChanges.of(options, plan.known, idle=not run.unfinished)
    destination.settle(describe_pack(options, plan.entries, table), words=None, changes=changes)
    if run.unfinished:
        with open_executor(options, task, run) as executor:
            executor.make_shards(run, progress)
    run.remove_temporary_files()
    totals = run.totals(time.monotonic() - start)
    return PackTotals(**vars(totals), **count_keys(run, table), num_classes=table.num_classes)
