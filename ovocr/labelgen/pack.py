"""Implements ``ovocr pack-labels``: loads the table, plans the sources, runs over the shards, returns totals."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.record_columns import read_keys
from ovocr.labelgen.executors.executor import check_executor, open_executor
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.options import PackOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.interruption import stoppable
from ovocr.labelgen.shards.manifest import describe_pack
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.shards.store_destination import open_destination
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.sources import Found, InputShard, plan_shards, read_shard
from ovocr.labelgen.tables import LabelTable
from ovocr.labelgen.workers.tasks import PackTask, require_decoders

# After this many images without a row, a message shows one key of an image and one of the table.
UNUSUAL_START = 10_000


@dataclass(frozen=True, kw_only=True)
class PackTotals(Totals):
    """The totals of a packing run.

    num_classes: number of classes; class ids are smaller. keys: number of distinct keys of the table.
    keys_without_image: number of keys that no image has; None if a shard is unfinished or the data set is in an object
    store.
    """

    num_classes: int
    keys: int
    keys_without_image: int | None

    def to_json(self) -> dict[str, Any]:
        """Returns the totals for ``--json``."""
        table = {name: getattr(self, name) for name in ("num_classes", "keys", "keys_without_image")}
        return {**super().to_json(), **table}

    def _contents(self) -> list[str]:
        tags, classes = counted(self.counts["tags"], "tag"), counted(self.num_classes, "class", "classes")
        lines = [f"{tags} (distinct in each image) of {classes}"]
        if self.keys_without_image is not None:
            lines.append(f"{counted(self.keys, 'key')} in the table, {self.keys_without_image:,} without an image")
        return lines


def pack_labels(options: PackOptions, progress: bool) -> PackTotals:
    """Writes all images of the sources, with their class ids from a table, to the data set ``options.out``.

    Skips finished shards. progress: show the progress on stderr. Raises OvocrError, including on Ctrl-C and SIGTERM;
    the same call then resumes after the finished shards. Errors of the table are raised before anything is written.
    """
    start = time.monotonic()
    with stoppable(options.out):
        check_executor(options.executor)
        require_decoders()
        shards = plan_shards(options.sources, options.shard_size)
        task = PackTask.plan(options)
        with open_destination(options.out) as destination:
            return _pack(options, shards, task, destination, progress, start)


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
    run = ShardRun(options, shards, destination, with_text=False)
    if run.unfinished:
        destination.check(shards)
        if not run.data_set.finished_shards():
            _check_keys_meet(shards, table)
    destination.settle(describe_pack(options, shards, table), words=None)
    if run.unfinished:
        with open_executor(options, task, run) as executor:
            executor.make_shards(run, progress)
    run.remove_temporary_files()
    totals = run.totals(time.monotonic() - start)
    complete = run.is_complete() and destination.keeps_shards
    keys, unseen = table.keys.count(_keys_of_images(run.data_set) if complete else iter(()))
    return PackTotals(
        **vars(totals),
        num_classes=table.num_classes,
        keys=keys,
        keys_without_image=unseen if complete else None,
    )


def _check_keys_meet(shards: list[InputShard], table: LabelTable) -> None:
    """Raises OvocrError if no image has a row in the table, which means that the keys are spelled differently.

    Reads the sources up to the first image with a row.
    """
    images = 0
    difference = ""
    for item in chain.from_iterable(read_shard(shard) for shard in shards):
        if not isinstance(item, Found):
            continue
        if table.ids(item.key):
            return
        images += 1
        difference = difference or f"an image's key is {item.key!r}, the table's first is {table.keys.first()!r}"
        if images == UNUSUAL_START:
            say(f"none of the first {images} images has a row in {table.name}: {difference}; checking the other images")
    if images:
        raise OvocrError(
            f"--labels {table.name}: no image has a row with class ids: {difference}; "
            "a key is the path inside the source, including the file extension"
        )


def _keys_of_images(data_set: LabelledDataSet) -> Iterator[pa.Array]:
    """Yields the keys of all images in finished shards, in batches."""
    for number in data_set.finished_shards():
        yield from read_keys(data_set.records_path(number))
