"""Decides on which side of a split each image of a data set is."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.dataset.holdout.group_table import GroupTable
from ovocr.dataset.holdout.rule import KEY, SOURCE, hash_group, hash_limit
from ovocr.dataset.holdout.shard_parts import WholeShard
from ovocr.dataset.manifest import HELD_OUT, PARTS, TRAIN
from ovocr.dataset.record_columns import read_keys_and_statuses
from ovocr.labelgen.split.distinct_hashes import DistinctHashes
from ovocr.processes.shard_map import map_shards

_Hashes = npt.NDArray[np.uint64]


class ShardSides(NamedTuple):
    """The sides of a shard's N images.

    packed: bool [N] as bits, the images that are held out. images: N. ok: number of images with a record by part.
    without_row: number of images that have no row in the table of
    groups. first_key: key of the first of these.
    """

    packed: npt.NDArray[np.uint8]
    images: int
    ok: dict[str, int]
    without_row: int = 0
    first_key: str = ""

    def kept(self, part: str) -> npt.NDArray[np.bool_]:
        """Returns the images of a part: bool [N]."""
        held_out = np.unpackbits(self.packed, count=self.images).astype(bool)
        return held_out if part == HELD_OUT else ~held_out


class _Grouped(NamedTuple):
    """What is found out about a shard. groups: hashes of the distinct groups, uint64, ascending."""

    sides: ShardSides
    groups: _Hashes


@dataclass(frozen=True)
class Sides:
    """The sides of all shards, in order: one bit for each image.

    by: what images of a group have in common. groups: number of distinct groups by part.
    """

    shards: list[ShardSides]
    by: str
    groups: dict[str, int]

    @property
    def without_row(self) -> int:
        """Number of images that have no row in the table of groups."""
        return sum(shard.without_row for shard in self.shards)

    def check(self, share: float, table: GroupTable | None) -> None:
        """Raises OvocrError if a part has no image with tags, or no image has a row in the table of groups."""
        images = sum(shard.images for shard in self.shards)
        if table is not None and images and self.without_row == images:
            raise table.no_row(next(shard.first_key for shard in self.shards if shard.images))
        groups = self.groups
        noun = {KEY: "image", SOURCE: "source"}.get(self.by, "group") if table is None else "group"
        every, held_out = counted(sum(groups.values()), noun), groups[HELD_OUT]
        advice = "choose another --share or --seed" + ("" if sum(groups.values()) > 1 else ", or divide by key")
        if not held_out or not groups[TRAIN]:
            raise OvocrError(f"--share {share:g}: holds out {'all' if held_out else 'none'} of {every}; {advice}")
        for part in PARTS:
            if not sum(shard.ok[part] for shard in self.shards):
                raise OvocrError(
                    f"--share {share:g}: holds out {held_out:,} of {every}, but no image of the {part} part has tags; "
                    f"{advice}"
                )


def decide_sides(
    shards: list[WholeShard],
    *,
    share: float,
    by: str,
    seed: int,
    table: GroupTable | None,
    workers: int,
    progress: bool,
) -> Sides:
    """Reads the groups of all images. table: of the groups; None for groups by key or by source.

    Raises OvocrError if records cannot be read.
    """
    limit = hash_limit(share)
    if table is not None:  # in this process: copies of a large table would fill the memory
        found: Iterator[_Grouped] = (_by_table(table, seed, limit, shard) for shard in shards)
    else:
        work = partial(_by_key if by == KEY else _by_source, seed, limit)
        title = "groups" if progress and by == KEY else None
        found = map_shards(work, shards, workers=workers if by == KEY else 1, progress=title)
    sides = []
    with DistinctHashes() as hashes:
        for shard in found:
            sides.append(shard.sides)
            hashes.add(shard.groups)
        groups, held_out = hashes.count(), hashes.count(below=limit)
    return Sides(sides, by, {TRAIN: groups - held_out, HELD_OUT: held_out})


def _by_source(seed: int, limit: int, shard: WholeShard) -> _Grouped:
    counts = shard.counts
    group = np.uint64(hash_group(shard.entry.source, seed))
    return _sides(np.full(counts.input, group), counts.ok, limit)


def _by_key(seed: int, limit: int, shard: WholeShard) -> _Grouped:
    keys, is_ok = _read(shard)
    return _sides(_hash(iter(keys), len(keys), seed), is_ok, limit)


def _by_table(table: GroupTable, seed: int, limit: int, shard: WholeShard) -> _Grouped:
    keys, is_ok = _read(shard)
    groups = [table.of_image(key) for key in keys]
    without = [key for key, group in zip(keys, groups, strict=True) if group is None]
    # An image without a row is a group of its own.
    names = (key if group is None else group for key, group in zip(keys, groups, strict=True))
    sides, hashes = _sides(_hash(names, len(keys), seed), is_ok, limit)
    return _Grouped(sides._replace(without_row=len(without), first_key=without[0] if without else ""), hashes)


def _read(shard: WholeShard) -> tuple[list[str], npt.NDArray[np.bool_]]:
    with shard.on_disk(["records"]) as stored:
        return read_keys_and_statuses(stored.data_set.records_path(shard.number))


def _hash(groups: Iterator[str], count: int, seed: int) -> _Hashes:
    return np.fromiter((hash_group(group, seed) for group in groups), np.uint64, count)


def _sides(hashes: _Hashes, ok: npt.NDArray[np.bool_] | int, limit: int) -> _Grouped:
    """Returns the sides of images. ok: which images have a record, or how many of images that are all on one side."""
    held_out = hashes < np.uint64(limit)
    if isinstance(ok, int):
        of_part = {TRAIN: 0, HELD_OUT: 0, **({HELD_OUT if held_out.all() else TRAIN: ok})}
    else:
        of_part = {TRAIN: int((ok & ~held_out).sum()), HELD_OUT: int((ok & held_out).sum())}
    return _Grouped(ShardSides(np.packbits(held_out), len(hashes), of_part), np.unique(hashes))
