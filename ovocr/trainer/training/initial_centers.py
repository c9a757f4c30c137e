"""The class centers that a head begins with where another run gives them: all of them, or those that a map names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.sections import HeadConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.ranks.distributed import Ranks, row_range
from ovocr.trainer.runs.checkpoint import RowShard, load_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.model import Model, saved_per_head
from ovocr.vocab import Vocabulary
from ovocr.vocab.class_map import NO_OLD_CLASS, ClassMap

# Rows of the other run's centers that a rank shows the others at a time: 67 MB at a width of 1024.
_BLOCK_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class SourceHead:
    """A head of another run, as the newest checkpoint there has it.

    vocabulary_sha256: of the words that its classes stand for; empty where they are mere numbers.
    """

    name: str
    run: RunFolder
    checkpoint: Path
    num_classes: int
    vocabulary_sha256: str

    @classmethod
    def open(cls, name: str, root: Path) -> "SourceHead":
        """The head ``name`` of the run in ``root``. Raises OvocrError where there is none, or nothing is trained."""
        run = RunFolder.open(root)
        config = run.config()
        if name not in config.heads:
            heads = ", ".join(config.heads)
            raise OvocrError(f"heads.{name}.init_from: {root} has no head of this name; it has {heads}")
        checkpoint, path = run.trained_checkpoint(), run.vocabulary_path(name)
        return cls(
            name=name,
            run=run,
            checkpoint=checkpoint,
            num_classes=saved_per_head(checkpoint, "num_classes", config)[name],
            vocabulary_sha256=Vocabulary.load(path).sha256 if path.is_file() else "",
        )


def begin_centers(source: SourceHead, head: HeadConfig, data: HeadData, model: Model) -> str:
    """Fill the class centers of a head with those that its settings name; what was done, for a person.

    Rows of classes that the other run does not have stay as they are. Every rank calls this. Raises OvocrError where
    something does not fit: a center must go on standing for the same word.
    """
    name = source.name
    if head.init_map is None:
        _check_same_classes(source, data)
        load_checkpoint(source.checkpoint, model.head_tensors(name), model.heads[name].ranks)
        return f"head {name}: class centers from {source.checkpoint}"
    class_map = load_class_map(name, head.init_map, data.num_classes)
    try:
        _check_vocabularies(class_map, source, data, head.init_map)
        _check_old_ids(class_map, source, head.init_map)
    except OvocrError as error:
        raise OvocrError(f"heads.{name}.init_map: {error}") from error
    carry_rows(source, class_map, model.heads[name])
    return (
        f"head {name}: class centers of {class_map.kept:,} of {data.num_classes:,} classes from {source.checkpoint}, "
        f"by {head.init_map}"
    )


def load_class_map(name: str, path: Path, num_classes: int) -> ClassMap:
    """The map of a head with so many classes. Raises OvocrError where it cannot be read or is for another number."""
    try:
        class_map = ClassMap.load(path)
        if len(class_map.old_ids) != num_classes:
            raise OvocrError(f"{path}: is for {len(class_map.old_ids)} classes, this head has {num_classes}")
    except OvocrError as error:
        raise OvocrError(f"heads.{name}.init_map: {error}") from error
    return class_map


@torch.no_grad()
def carry_rows(source: SourceHead, class_map: ClassMap, head: PartialFC) -> None:
    """Fill the rows of ``head.weight`` that the map has an old class for; every rank calls this.

    Each rank reads its share of the old centers and shows it to the others block by block, so that none has them all.
    """
    weight, ranks = head.weight, head.ranks
    first, last = row_range(source.num_classes, ranks.rank, ranks.world)
    old = RowShard(weight.new_empty((last - first, head.embedding_dim)), first, source.num_classes)
    load_checkpoint(source.checkpoint, {f"heads.{source.name}.weight": old}, ranks)
    wanted = torch.from_numpy(class_map.old_ids[head.first_class : head.last_class]).to(weight.device)
    for start, block in _all_rows(old, ranks):
        rows = ((wanted >= start) & (wanted < start + block.shape[0])).nonzero().squeeze(1)
        weight[rows] = block[wanted[rows] - start]


def _all_rows(shard: RowShard, ranks: Ranks) -> Iterator[tuple[int, Tensor]]:
    """Blocks of consecutive rows of the whole, each with the number of its first row, on every rank alike."""
    for owner in range(ranks.world):
        first, last = row_range(shard.total, owner, ranks.world)
        for start in range(first, last, _BLOCK_ROWS):
            stop = min(last, start + _BLOCK_ROWS)
            if owner == ranks.rank:
                block = shard.local[start - first : stop - first]
            else:
                block = shard.local.new_empty((stop - start, *shard.local.shape[1:]))
            yield start, ranks.broadcast(block, owner)


def _check_same_classes(source: SourceHead, data: HeadData) -> None:
    where = f"heads.{source.name}.init_from: {source.run.root}"
    if source.vocabulary_sha256 != _sha256(data):
        raise OvocrError(
            f"{where} was trained on another vocabulary than this head's data; `ovocr vocab map` and init_map carry "
            "its centers over"
        )
    if source.num_classes != data.num_classes:
        raise OvocrError(f"{where} has {source.num_classes} classes, this head {data.num_classes}: see num_classes")


def _check_vocabularies(class_map: ClassMap, source: SourceHead, data: HeadData, path: Path) -> None:
    """A map that tells what it is for is for these two. Raises OvocrError."""
    old_path, new_path = source.run.vocabulary_path(source.name), data.samples.vocabulary_path
    for stamp, found, whose in (
        (class_map.old, source.vocabulary_sha256, f"{source.run.root} was trained on"),
        (class_map.new, _sha256(data), "this head's data have"),
    ):
        if stamp is not None and stamp.sha256 != found:
            both_known = source.vocabulary_sha256 and new_path is not None
            mend = f": ovocr vocab map {old_path} {new_path} --out {path}" if both_known else ""
            raise OvocrError(f"{path}: made from another vocabulary than {whose}; make it again{mend}")


def _check_old_ids(class_map: ClassMap, source: SourceHead, path: Path) -> None:
    """Every entry is a class of the other run. Raises OvocrError."""
    wrong = np.flatnonzero(class_map.old_ids >= source.num_classes)
    if wrong.size:
        old_id = class_map.old_ids[wrong[0]]
        raise OvocrError(
            f"{path}: class {wrong[0]} was {old_id}, but {source.run.root} has {source.num_classes} classes, from 0; "
            f"{NO_OLD_CLASS} stands for a new class"
        )


def _sha256(data: HeadData) -> str:
    return "" if data.vocabulary is None else data.vocabulary.sha256
