"""Initial class centers from another run, all of them or those selected by a class map, with the statistics of
``embedding_norm``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.heads import HeadConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.ranks.distributed import Ranks, row_range
from ovocr.trainer.runs.checkpoint import RowShard, Tensors, load_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.model import Model, saved_classes
from ovocr.vocab import Vocabulary
from ovocr.vocab.class_map import NO_OLD_CLASS, ClassMap

# Rows of the old centers that a rank broadcasts at a time: 67 MB at a width of 1024.
_BLOCK_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class SourceHead:
    """A head of another run at its newest checkpoint.

    vocabulary_sha256: hash of the vocabulary of its classes; empty if it has none.
    has_norm: whether it has ``embedding_norm``, whose statistics are in the checkpoint.
    """

    name: str
    run: RunFolder
    checkpoint: Path
    num_classes: int
    vocabulary_sha256: str
    has_norm: bool

    @classmethod
    def open(cls, name: str, root: Path) -> "SourceHead":
        """Returns the head ``name`` of the run in ``root``. Raises OvocrError if it or a checkpoint does not exist."""
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
            num_classes=saved_classes(checkpoint, config)[name],
            vocabulary_sha256=Vocabulary.load(path).sha256 if path.is_file() else "",
            has_norm=config.heads[name].embedding_norm == "batch",
        )


def load_initial_centers(source: SourceHead, head: HeadConfig, data: HeadData, model: Model) -> str:
    """Fills the class centers of a head according to its settings; returns a line for the log.

    Rows of classes that the other run does not have are left unchanged. If both heads have ``embedding_norm``, its
    running statistics are filled too. Every rank calls this. Raises OvocrError if vocabularies or sizes do not match,
    because a center must keep its word.
    """
    name = source.name
    statistics, about_statistics = _statistics(source, model)
    if head.init_map is None:
        _check_same_classes(source, data)
        load_checkpoint(source.checkpoint, model.head_tensors(name) | statistics, model.heads[name].ranks)
        return f"head {name}: class centers from {source.checkpoint}{about_statistics}"
    class_map = load_class_map(name, head.init_map, data.num_classes)
    try:
        _check_vocabularies(class_map, source, data, head.init_map)
        _check_old_ids(class_map, source, head.init_map)
    except OvocrError as error:
        raise OvocrError(f"heads.{name}.init_map: {error}") from error
    copy_mapped_rows(source, class_map, model.heads[name], statistics)
    return (
        f"head {name}: class centers of {class_map.kept:,} of {data.num_classes:,} classes from {source.checkpoint}, "
        f"by {head.init_map}{about_statistics}"
    )


def load_class_map(name: str, path: Path, num_classes: int) -> ClassMap:
    """Loads the map of a head with this many classes. Raises OvocrError if it cannot be read or has a different
    size."""
    try:
        class_map = ClassMap.load(path)
        if len(class_map.old_ids) != num_classes:
            raise OvocrError(f"{path}: is for {len(class_map.old_ids):,} classes, but this head has {num_classes:,}")
    except OvocrError as error:
        raise OvocrError(f"heads.{name}.init_map: {error}") from error
    return class_map


@torch.no_grad()
def copy_mapped_rows(source: SourceHead, class_map: ClassMap, head: PartialFC, others: Tensors) -> None:
    """Fills the rows of ``head.weight`` whose class has an old class in the map; every rank calls this.

    Each rank reads its share of the old centers and broadcasts it block by block, so no rank loads them all.

    others: tensors to fill with those of the same names in the checkpoint, which is then read only once.
    """
    weight, ranks = head.weight, head.ranks
    first, last = row_range(source.num_classes, ranks.rank, ranks.world)
    old = RowShard(weight.new_empty((last - first, head.embedding_dim)), first, source.num_classes)
    load_checkpoint(source.checkpoint, {f"heads.{source.name}.weight": old, **others}, ranks)
    wanted = torch.from_numpy(class_map.old_ids[head.first_class : head.last_class]).to(weight.device)
    for start, block in _all_rows(old, ranks):
        rows = ((wanted >= start) & (wanted < start + block.shape[0])).nonzero().squeeze(1)
        weight[rows] = block[wanted[rows] - start]


def _all_rows(shard: RowShard, ranks: Ranks) -> Iterator[tuple[int, Tensor]]:
    """Yields blocks of consecutive rows of the whole tensor, each with its first row number, on every rank."""
    for owner in range(ranks.world):
        first, last = row_range(shard.total, owner, ranks.world)
        for start in range(first, last, _BLOCK_ROWS):
            stop = min(last, start + _BLOCK_ROWS)
            if owner == ranks.rank:
                block = shard.local[start - first : stop - first]
            else:
                block = shard.local.new_empty((stop - start, *shard.local.shape[1:]))
            yield start, ranks.broadcast(block, owner)


def _statistics(source: SourceHead, model: Model) -> tuple[Tensors, str]:
    """Returns the running statistics of ``embedding_norm`` to fill, and what the log says about them."""
    if model.heads[source.name].embedding_norm is None:
        return {}, ""
    if not source.has_norm:
        return {}, "; no statistics of embedding_norm, which that run does not have"
    return model.norm_tensors(source.name), ", with the statistics of embedding_norm"


def _check_same_classes(source: SourceHead, data: HeadData) -> None:
    where = f"heads.{source.name}.init_from: {source.run.root}"
    if source.vocabulary_sha256 != _sha256(data):
        raise OvocrError(
            f"{where} was trained with a different vocabulary than this head's data; use `ovocr vocab map` and "
            "init_map to copy its centers"
        )
    if source.num_classes != data.num_classes:
        raise OvocrError(
            f"{where} has {source.num_classes:,} classes, but this head has {data.num_classes:,}; see num_classes"
        )


def _check_vocabularies(class_map: ClassMap, source: SourceHead, data: HeadData, path: Path) -> None:
    """Raises OvocrError if the map was made from different vocabularies than the two heads have."""
    old_path, new_path = source.run.vocabulary_path(source.name), data.samples.vocabulary_path
    for stamp, found, expected in (
        (class_map.old, source.vocabulary_sha256, f"the vocabulary of {source.run.root}"),
        (class_map.new, _sha256(data), "the vocabulary of this head's data"),
    ):
        if stamp is not None and stamp.sha256 != found:
            both_known = source.vocabulary_sha256 and new_path is not None
            command = f" with: ovocr vocab map {old_path} {new_path} --out {path}" if both_known else ""
            raise OvocrError(f"{path}: not made from {expected}; make it again{command}")


def _check_old_ids(class_map: ClassMap, source: SourceHead, path: Path) -> None:
    """Raises OvocrError if an entry is not a class of the other run."""
    wrong = np.flatnonzero(class_map.old_ids >= source.num_classes)
    if wrong.size:
        old_id = class_map.old_ids[wrong[0]]
        raise OvocrError(
            f"{path}: class {wrong[0]} maps to {old_id}, but the class ids of {source.run.root} are 0 to "
            f"{source.num_classes - 1}; {NO_OLD_CLASS} marks a new class"
        )


def _sha256(data: HeadData) -> str:
    return "" if data.vocabulary is None else data.vocabulary.sha256
