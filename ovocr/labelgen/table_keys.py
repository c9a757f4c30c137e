"""Compares the keys of a user's table with the keys of images."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.dataset.record_columns import read_keys
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.sources import Found, InputShard, read_shard
from ovocr.labelgen.tables import LabelTable, LineTable
from ovocr.labelgen.tables.cell_errors import show

# After this many images without a row, a message shows one key of an image and one of the table.
UNUSUAL_START = 10_000


@dataclass(frozen=True, kw_only=True)
class TableTotals(Totals):
    """The totals of a run with a table.

    keys: number of distinct keys of the table.
    keys_without_image: number of keys that no image has; None if a shard is unfinished or the data set is in an object
    store. keys_without_image_examples: the first of them in the table, at most three.
    """

    keys: int
    keys_without_image: int | None
    keys_without_image_examples: list[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the totals for ``--json``."""
        names = ("keys", "keys_without_image", "keys_without_image_examples")
        return {**super().to_json(), **{name: getattr(self, name) for name in names}}

    def _contents(self) -> list[str]:
        if self.keys_without_image is None:
            return self._counts()
        examples = ", ".join(map(show, self.keys_without_image_examples))
        if examples:
            some = self.keys_without_image > len(self.keys_without_image_examples)
            examples = f", such as {examples}" if some else f": {examples}"
        return [
            *self._counts(),
            f"{counted(self.keys, 'key')} in the table, {self.keys_without_image:,} without an image{examples}",
        ]

    def _counts(self) -> list[str]:
        """Returns lines about the text and tags of the images."""
        return super()._contents()


def check_keys_meet(shards: list[InputShard], table: LabelTable | LineTable) -> None:
    """Raises OvocrError if no image has a row in the table, which means that the keys are spelled differently.

    Reads the sources up to the first image with a row.
    """
    images = 0
    difference = ""
    for item in chain.from_iterable(read_shard(shard) for shard in shards):
        if not isinstance(item, Found):
            continue
        if table.has_row(item.key):
            return
        images += 1
        difference = difference or f"an image's key is {item.key!r}, the table's first is {table.keys.first()!r}"
        if images == UNUSUAL_START:
            say(f"none of the first {images} images has a row in {table.name}: {difference}; checking the other images")
    if images:
        raise OvocrError(
            f"{table.option.name} {table.name}: no image has a {table.row_name}: {difference}; "
            "a key is the path inside the source, including the file extension"
        )


def count_keys(run: ShardRun, table: LabelTable | LineTable) -> dict[str, Any]:
    """Returns the fields that TableTotals has of its own, by name."""
    complete = run.is_complete() and run.destination.keeps_shards
    keys, unseen, examples = table.keys.count(_keys_of_images(run) if complete else iter(()))
    return {
        "keys": keys,
        "keys_without_image": unseen if complete else None,
        "keys_without_image_examples": examples if complete else [],
    }


def _keys_of_images(run: ShardRun) -> Iterator[pa.Array]:
    """Yields the keys of all images in finished shards, in batches."""
    for number in run.data_set.finished_shards():
        yield from read_keys(run.data_set.records_path(number))
