"""The disk space that the checkpoints of a run need, known from their tensors before the first step."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.memory_size import format_size
from ovocr.base.plural import counted
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import RowShard, Tensors, complete_checkpoints
from ovocr.trainer.runs.folder import RunFolder

# Bytes besides the values of the tensors. Measured with torch 2.13: 1,577 for the header of each tensor's part, about
# 250 for its entry in the index, and 6 kB for the state, which contains the configuration.
_PER_TENSOR = 2048
_PER_CHECKPOINT = 2**14


@dataclass(frozen=True)
class CheckpointSpace:
    """The space that a run's checkpoints need.

    size: bytes of one checkpoint.
    most: largest number of checkpoints at a time, with the one that is being written.
    """

    size: int
    most: int

    @classmethod
    def of(cls, tensors: Tensors, config: RunConfig, ranks: Ranks) -> "CheckpointSpace":
        """Returns the space for checkpoints of these tensors, of which this rank may have parts."""
        size = _PER_CHECKPOINT
        for value in tensors.values():
            if isinstance(value, RowShard):
                size += (
                    value.total * value.local.shape[1:].numel() * value.local.element_size() + _PER_TENSOR * ranks.world
                )
            else:
                size += value.numel() * value.element_size() + _PER_TENSOR
        return cls(size, config.run.keep_checkpoints + _has_best(config) + _has_cooldown(config) + 1)

    def check(self, folder: RunFolder, config: RunConfig, done: int) -> str | None:
        """Checks that there is room for the next checkpoint of a run that has finished ``done`` steps.

        Returns a warning if there is none for all that are kept, and None if there is. Raises OvocrError if there is no
        room for one.
        """
        free = free_bytes(folder.checkpoints)
        if free < self.size:
            raise OvocrError(
                f"{folder.root}: a checkpoint takes {format_size(self.size)}, but only {format_size(free)} are free; "
                "free disk space, or choose another run.output"
            )
        present = sum(int(path.name) <= done for path in complete_checkpoints(folder.checkpoints))
        added = min(self.most - present, _saves_after(config, done))
        if added * self.size <= free:
            return None
        return (
            f"{folder.root}: {counted(added, 'more checkpoint')} of {format_size(self.size)} may be kept or written at "
            f"a time, but only {format_size(free)} are free; lower run.keep_checkpoints, or free disk space"
        )

    def format(self, config: RunConfig) -> str:
        """Returns one line to print."""
        kinds = [f"the newest {config.run.keep_checkpoints}"]
        kinds += ["the best"] if _has_best(config) else []
        kinds += ["the start of the cooldown"] if _has_cooldown(config) else []
        kinds += ["one being written"]
        output = config.run.output
        free = free_bytes(output)
        problem = "" if free >= self.size else ", too little for one: the run would not start"
        return (
            f"checkpoints: {format_size(self.size)} each, at most {self.most} at a time ({', '.join(kinds)}): "
            f"{format_size(self.most * self.size)}; {format_size(free)} free at {output}{problem}"
        )


def free_bytes(folder: Path) -> int:
    """Returns the free space of the file system that has the folder, or will have it."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _has_best(config: RunConfig) -> bool:
    return config.evaluation.every > 0


def _has_cooldown(config: RunConfig) -> bool:
    return config.cooldown_start is not None


def _saves_after(config: RunConfig, done: int) -> int:
    """Returns the largest number of checkpoints that the rest of the run saves."""
    steps, every = config.run.steps, config.run.checkpoint_every
    saves = steps // every - done // every + 1  # the last one may be no multiple
    saves += _has_cooldown(config)
    return saves + ((steps - done) // config.evaluation.every + 1 if _has_best(config) else 0)
