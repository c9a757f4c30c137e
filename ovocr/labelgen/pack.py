"""``ovocr pack-labels``: a table of class ids and sources in, a run over the shards, totals out."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.record_columns import read_keys
from ovocr.labelgen.executors.executor import check_executor, open_executor
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.label_tables import LabelTable
from ovocr.labelgen.options import PackOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.interruption import stoppable
from ovocr.labelgen.shards.manifest import describe_pack
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.shards.store_destination import open_destination
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.sources import Found, InputShard, plan_shards, read_shard
from ovocr.labelgen.workers.work import PackWork, require_decoders

# So many images without a row are a reason to show a key of each side before the last one is read.
UNUSUAL_START = 10_000


@dataclass(frozen=True, kw_only=True)
class PackTotals(Totals):
    """What a packing run reports beside the counts.

    num_classes: class ids are below it. keys: of the table, distinct. keys_without_image: those that no image of the
    data set has; None while shards are not finished, and for a data set in an object store.
    """

    num_classes: int
    keys: int
    keys_without_image: int | None

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        table = {name: getattr(self, name) for name in ("num_classes", "keys", "keys_without_image")}
        return {**super().to_json(), **table}

    def _contents(self) -> list[str]:
        lines = [f"{self.counts['tags']} tags (distinct in each image) of {self.num_classes} classes"]
        if self.keys_without_image is not None:
            lines.append(f"{self.keys} keys in the table, {self.keys_without_image} of them of no image")
        return lines


def pack_labels(options: PackOptions, progress: bool) -> PackTotals:
    """Write all images of the sources with the class ids that a table has for them into the data set ``options.out``.

    Shards finished before are left alone. progress: show how far it is, on stderr. Raises OvocrError for what the user
    can mend, of the table before anything is written; finished shards stay, and the same call goes on behind them.
    """
    start = time.monotonic()
    with stoppable(options.out):
        check_executor(options.executor)
        require_decoders()
        shards = plan_shards(options.sources, options.shard_size)
        work = PackWork.plan(options)
        with open_destination(options.out) as destination:
            return _pack(options, shards, work, destination, progress, start)


def _pack(
    options: PackOptions,
    shards: list[InputShard],
    work: PackWork,
    destination: Destination,
    progress: bool,
    start: float,
) -> PackTotals:
    """start: when the command began, on the monotonic clock."""
    table = work.table
    run = ShardRun(options, shards, destination, with_text=False)
    if run.todo:
        destination.check(shards)
        if not run.data_set.finished_shards():
            _check_keys_meet(shards, table)
    destination.settle(describe_pack(options, shards, table), words=None)
    if run.todo:
        with open_executor(options, work, run) as executor:
            executor.make_shards(run, progress)
    run.tidy()
    totals = run.totals(time.monotonic() - start)
    all_here = run.is_complete() and destination.keeps_shards
    keys, unseen = table.count_keys(_keys_of_images(run.data_set) if all_here else iter(()))
    return PackTotals(
        **vars(totals),
        num_classes=table.num_classes,
        keys=keys,
        keys_without_image=unseen if all_here else None,
    )


def _check_keys_meet(shards: list[InputShard], table: LabelTable) -> None:
    """Raises OvocrError where no image has a row in the table: then both spell their keys in different ways.

    Reads the sources up to the first image that has one.
    """
    images = 0
    difference = ""
    for item in chain.from_iterable(read_shard(shard) for shard in shards):
        if not isinstance(item, Found):
            continue
        if table.ids(item.key):
            return
        images += 1
        difference = difference or f"an image's key is {item.key!r}, the table's first is {table.first_key()!r}"
        if images == UNUSUAL_START:
            say(f"none of the first {images} images has a row in {table.name}: {difference}; looking at the others")
    if images:
        raise OvocrError(
            f"--labels {table.name}: no image has a row with class ids in it: {difference}; "
            "a key is the path inside the source, ending included"
        )


def _keys_of_images(data_set: LabelledDataSet) -> Iterator[pa.Array]:
    """The keys of all images that were met in finished shards, a row group at a time."""
    for number in data_set.finished_shards():
        yield from read_keys(data_set.records_path(number))
