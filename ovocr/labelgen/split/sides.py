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
from ovocr.processes.shard_map import map_shards

_Hashes = npt.NDArray[np.uint64]


class ShardSides(NamedTuple):
    """The sides of a shard's N images.

    packed: bool [N] as bits, the images that are held out. images: N. ok: number of images with a record by part.
    groups: hashes of the distinct groups, uint64. without_row: number of images that have no row in the table of
    groups. first_key: key of the first of these.
    """

    packed: npt.NDArray[np.uint8]
    images: int
    ok: dict[str, int]
    groups: _Hashes
    without_row: int = 0
    first_key: str = ""

    def kept(self, part: str) -> npt.NDArray[np.bool_]:
        """Returns the images of a part: bool [N]."""
        held_out = np.unpackbits(self.packed, count=self.images).astype(bool)
        return held_out if part == HELD_OUT else ~held_out


@dataclass(frozen=True)
class Sides:
    """The sides of all shards, in order. by: what images of a group have in common. limit: see ``hash_limit``."""

    shards: list[ShardSides]
    by: str
    limit: int

    def groups(self) -> dict[str, int]:
        """Returns the number of distinct groups by part."""
        hashes = np.unique(np.concatenate([np.empty(0, np.uint64), *(shard.groups for shard in self.shards)]))
        held_out = int((hashes < np.uint64(self.limit)).sum())
        return {TRAIN: len(hashes) - held_out, HELD_OUT: held_out}

    @property
    def without_row(self) -> int:
        """Number of images that have no row in the table of groups."""
        return sum(shard.without_row for shard in self.shards)

    def check(self, share: float, table: GroupTable | None) -> None:
        """Raises OvocrError if a part has no image with tags, or no image has a row in the table of groups."""
        images = sum(shard.images for shard in self.shards)
        if table is not None and images and self.without_row == images:
            raise table.no_row(next(shard.first_key for shard in self.shards if shard.images))
        groups = self.groups()
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
        found = (_by_table(table, seed, limit, shard) for shard in shards)
        return Sides(list(found), by, limit)
    work = partial(_by_key if by == KEY else _by_source, seed, limit)
    title = "groups" if progress and by == KEY else None
    return Sides(list(map_shards(work, shards, workers=workers if by == KEY else 1, progress=title)), by, limit)


def _by_source(seed: int, limit: int, shard: WholeShard) -> ShardSides:
    counts = shard.data_set.counts(shard.number)
    group = np.uint64(hash_group(shard.manifest.shards[shard.number].source, seed))
    return _sides(np.full(counts.input, group), counts.ok, limit)


def _by_key(seed: int, limit: int, shard: WholeShard) -> ShardSides:
    keys, is_ok = _read(shard)
    return _sides(_hash(iter(keys), len(keys), seed), is_ok, limit)


def _by_table(table: GroupTable, seed: int, limit: int, shard: WholeShard) -> ShardSides:
    keys, is_ok = _read(shard)
    groups = [table.of_image(key) for key in keys]
    without = [key for key, group in zip(keys, groups, strict=True) if group is None]
    # An image without a row is a group of its own.
    names = (key if group is None else group for key, group in zip(keys, groups, strict=True))
    sides = _sides(_hash(names, len(keys), seed), is_ok, limit)
    return sides._replace(without_row=len(without), first_key=without[0] if without else "")


def _read(shard: WholeShard) -> tuple[list[str], npt.NDArray[np.bool_]]:
    with shard.on_disk(["records"]) as stored:
        return read_keys_and_statuses(stored.data_set.records_path(shard.number))


def _hash(groups: Iterator[str], count: int, seed: int) -> _Hashes:
    return np.fromiter((hash_group(group, seed) for group in groups), np.uint64, count)


def _sides(hashes: _Hashes, ok: npt.NDArray[np.bool_] | int, limit: int) -> ShardSides:
    """Returns the sides of images. ok: which images have a record, or how many of images that are all on one side."""
    held_out = hashes < np.uint64(limit)
    if isinstance(ok, int):
        of_part = {TRAIN: 0, HELD_OUT: 0, **({HELD_OUT if held_out.all() else TRAIN: ok})}
    else:
        of_part = {TRAIN: int((ok & ~held_out).sum()), HELD_OUT: int((ok & held_out).sum())}
    return ShardSides(np.packbits(held_out), len(hashes), of_part, np.unique(hashes))
