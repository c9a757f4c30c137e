"""Writes the parts of one shard, and finds the words on both sides, in a worker process."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ovocr.dataset.holdout.shard_parts import ShardOfPart, WholeShard
from ovocr.dataset.manifest import TRAIN
from ovocr.dataset.record_columns import read_class_ids
from ovocr.dataset.statistics import data_file_names
from ovocr.labelgen.split.sides import ShardSides


class ShardTask(NamedTuple):
    """What to do with a shard. sides: of its images. parts: its shard of each part that has images of it."""

    whole: WholeShard
    sides: ShardSides
    parts: dict[str, ShardOfPart]

    @property
    def is_whole(self) -> bool:
        """True if all images are in one part."""
        return len(self.parts) == 1

    @property
    def todo(self) -> list[str]:
        """The parts whose shards are not finished."""
        return [name for name, part in self.parts.items() if not part.is_finished]

    def __str__(self) -> str:
        """Returns the shard's name in messages."""
        data_set = self.whole.data_set
        return data_set.name_of(data_set.records_path(self.whole.number))


class ShardResult(NamedTuple):
    """What was done with a shard.

    images: number of its images. class_ids: distinct class ids of the images by part, int32. written: number of
    shards of parts that were written. linked: whether a whole shard was placed by hard links, False if by copies; None
    if it was divided, or finished before.
    """

    images: int
    class_ids: dict[str, npt.NDArray[np.int32]]
    written: int
    linked: bool | None


def split_shard(task: ShardTask) -> ShardResult:
    """Writes the unfinished parts of a shard. Raises OvocrError if a file of the shard cannot be read."""
    todo = task.todo
    names = data_file_names(task.whole.manifest.has_text) if todo else ["records"]
    with task.whole.on_disk(names) as whole:
        return _split_shard(task._replace(whole=whole), todo)


def _split_shard(task: ShardTask, todo: list[str]) -> ShardResult:
    """Writes parts of a shard whose files are on a disk."""
    linked = None
    for name in todo:
        if task.is_whole:
            linked = task.whole.place(task.parts[name])
        else:
            # Files of the source that are not images are counted once, with the training part.
            ignored = task.whole.counts.ignored if name == TRAIN else 0
            task.whole.write(task.parts[name], task.sides.kept(name), ignored=ignored)
    return ShardResult(task.sides.images, _class_ids(task), len(todo), linked)


def _class_ids(task: ShardTask) -> dict[str, npt.NDArray[np.int32]]:
    rows, ids = read_class_ids(task.whole.data_set.records_path(task.whole.number))
    found = {}
    for name in task.parts:
        own = ids if task.is_whole else ids[task.sides.kept(name)[rows]]
        seen = np.zeros(task.whole.manifest.num_classes, bool)
        seen[own] = True
        found[name] = np.flatnonzero(seen).astype(np.int32)
    return found
