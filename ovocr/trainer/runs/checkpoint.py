"""Checkpoints: backbone, class centers, optimizer state and position, saved on N ranks and loaded on any M.

torch.distributed.checkpoint writes and reads the tensors. Class centers and their moments are split over ranks by rows
in parts of unequal length, which its sharded tensor types cannot express. Two planners, its documented extension point,
therefore specify at which row of the whole a rank's tensor begins. A checkpoint is written under a partial name and
renamed when it is completely on disk, so a folder with the final name is complete.
"""

import hashlib
import json
import shutil
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadPlan, SavePlan, WriteItem, WriteItemType
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from ovocr.base.errors import OvocrError
from ovocr.base.files import PARTIAL_SUFFIX, fsync, fsync_tree, make_folder, partial_path
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint_index import FILE_NAME, CheckedReader, first_line, read_index, unreadable

STATE_FILE = "state.json"


@dataclass(frozen=True)
class RowShard:
    """A rank's rows of a tensor that is split by rows: ``local`` contains rows from ``first`` on, of ``total``."""

    local: Tensor
    first: int
    total: int


Tensors = dict[str, Tensor | RowShard]


def save_checkpoint(folder: Path, tensors: Tensors, state: dict[str, Any], ranks: Ranks) -> None:
    """Saves tensors and a JSON-serialisable state as ``folder``; every rank calls this.

    A plain tensor is the same on every rank and written once; a RowShard is this rank's part. Raises OvocrError if the
    checkpoint cannot be written.
    """
    partial = partial_path(folder)
    if ranks.rank == 0:
        shutil.rmtree(partial, ignore_errors=True)
        make_folder(partial)
    _barrier(ranks)
    # torch flushes its files to disk before it has written the last bytes of their buffers; they are flushed below.
    writer = FileSystemWriter(partial, sync_files=False, single_file_per_rank=True)
    try:
        with _quiet():
            save(
                _local_tensors(tensors), storage_writer=writer, planner=_SavePlanner(tensors), process_group=ranks.group
            )
    except CheckpointException as error:
        cause = next(cause for cause, _ in error.failures.values())
        free = shutil.disk_usage(partial.parent).free
        if ranks.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)  # free the disk space for the next attempt
        raise OvocrError(
            f"{folder}: the checkpoint cannot be written ({free:,} bytes free): {first_line(cause)}"
        ) from error
    checksums = _checksums(partial, tensors, ranks)
    if ranks.rank == 0:
        content = json.dumps({**state, "crc32": checksums}, indent=1, sort_keys=True)
        (partial / STATE_FILE).write_text(content + "\n", encoding="utf-8")
        fsync_tree(partial)
        shutil.rmtree(folder, ignore_errors=True)  # a folder of this name without a state is not a checkpoint
        partial.rename(folder)
        fsync(folder.parent)
    _barrier(ranks)


def load_checkpoint(folder: Path, tensors: Tensors, ranks: Ranks, *, may_lack: Collection[str] = ()) -> None:
    """Fills the given tensors in place from a checkpoint.

    may_lack: names of tensors that keep their values if the checkpoint does not have them.

    Raises OvocrError naming a tensor or file that does not match.
    """
    index = read_index(folder)
    _check_files(folder, ranks)
    try:
        with _quiet():
            load(
                _local_tensors(tensors),
                storage_reader=CheckedReader(folder, index),
                planner=_LoadPlanner(folder, tensors, may_lack),
                process_group=ranks.group,
            )
    except CheckpointException as error:
        # CheckpointException collects the errors of all ranks; an OvocrError among them is raised as it is.
        causes = [cause for cause, _ in error.failures.values()]
        known = next((cause for cause in causes if isinstance(cause, OvocrError)), None)
        raise known or unreadable(folder, causes[0]) from error


@torch.no_grad()
def fill(tensors: Tensors, whole: Mapping[str, Tensor], *, prefix: str) -> None:
    """Copies whole tensors, or this rank's rows of them, into this rank's tensors. Names in ``whole`` have no
    prefix."""
    for name, value in tensors.items():
        source = whole[name.removeprefix(prefix)]
        if isinstance(value, RowShard):
            value.local.copy_(source[value.first : value.first + value.local.shape[0]])
        else:
            value.copy_(source)


def read_state(folder: Path) -> dict[str, Any]:
    """Returns the JSON state of a checkpoint. Raises OvocrError if it cannot be read."""
    try:
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OvocrError(
            f"{folder / STATE_FILE}: incomplete checkpoint: {getattr(error, 'strerror', None) or error}; "
            f"remove {folder} to resume from an older one"
        ) from error
    if not isinstance(state, dict) or type(state.get("step")) is not int or state["step"] < 0:
        raise OvocrError(f"{folder / STATE_FILE}: has no step")
    checksums = state.get("crc32", {})
    if not isinstance(checksums, dict) or not all(map(FILE_NAME.fullmatch, checksums)):
        raise OvocrError(f"{folder / STATE_FILE}: crc32 must have the checksums of the files; remove {folder}")
    return state


def complete_checkpoints(folder: Path) -> list[Path]:
    """Returns the complete checkpoints in a folder, oldest first; partial checkpoints have a different name and are
    excluded."""
    found = [path for path in folder.glob("[0-9]*") if path.name.isdecimal() and (path / STATE_FILE).is_file()]
    return sorted(found, key=lambda path: int(path.name))


def incomplete_checkpoints(folder: Path) -> list[Path]:
    """Returns the folders left by interrupted saves; they are never loaded."""
    return sorted({*folder.glob("[0-9]*")} - {*complete_checkpoints(folder)})


def prune_checkpoints(folder: Path, keep: int, spared: Collection[Path] = ()) -> None:
    """Removes all complete checkpoints except the newest ``keep`` and ``spared``, and what interrupted saves left."""
    for path in complete_checkpoints(folder)[:-keep]:
        if path not in spared:
            remove_checkpoint(path)
    for remains in folder.glob(f"[0-9]*{PARTIAL_SUFFIX}"):
        shutil.rmtree(remains)


def checkpoint_hash(folder: Path) -> str:
    """Returns a hash of a checkpoint's files: that of no other step, and of no other run."""
    checksums = json.dumps(read_state(folder).get("crc32", {}), sort_keys=True)
    return hashlib.blake2b(checksums.encode(), digest_size=16).hexdigest()


def remove_checkpoint(path: Path) -> None:
    """Removes a checkpoint. Renames it first, so that a half-removed folder is never taken for a checkpoint."""
    partial = partial_path(path)
    path.rename(partial)
    fsync(path.parent)  # otherwise a power cut may leave the name and not the files
    shutil.rmtree(partial)


def _checksums(folder: Path, tensors: Tensors, ranks: Ranks) -> dict[str, int]:
    """Flushes every rank's file to disk and returns its CRC-32, both by the rank that wrote it.

    Every rank calls this.
    """
    device = next(value.local if isinstance(value, RowShard) else value for value in tensors.values()).device
    own = folder / _file_name(ranks.rank)
    checksum = -1  # the rank wrote nothing
    if own.is_file():
        fsync(own)
        checksum = _crc32(own)
    checksums = ranks.gather_rows(torch.tensor([checksum], device=device), [1] * ranks.world).tolist()
    return {_file_name(rank): checksum for rank, checksum in enumerate(checksums) if checksum >= 0}


def _check_files(folder: Path, ranks: Ranks) -> None:
    """Raises OvocrError if the content of a file has changed. The ranks share the work.

    torch's reader does not detect changed bytes of a tensor.
    """
    checksums = read_state(folder).get("crc32", {})
    for name in sorted(checksums)[ranks.rank :: ranks.world]:
        try:
            found = _crc32(folder / name)
        except OSError as error:
            raise unreadable(folder, error) from error
        if found != checksums[name]:
            raise OvocrError(
                f"{folder / name}: checksum does not match; remove {folder} to resume from an older checkpoint"
            )


def _file_name(rank: int) -> str:
    """Returns the name that torch.distributed.checkpoint gives to the file of a rank."""
    return f"__{rank}_0.distcp"


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _local_tensors(tensors: Tensors) -> dict[str, Tensor]:
    return {name: value.local if isinstance(value, RowShard) else value for name, value in tensors.items()}


def _barrier(ranks: Ranks) -> None:
    if ranks.world > 1:
        dist.barrier(group=ranks.group)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the warning of torch.distributed.checkpoint that it works without a process group."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is (disabled|unavailable)")
        yield


def _offsets(shard: RowShard) -> torch.Size:
    return torch.Size([shard.first, *[0] * (shard.local.dim() - 1)])


class _SavePlanner(DefaultSavePlanner):
    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.shards = {name: value for name, value in tensors.items() if isinstance(value, RowShard)}

    def create_local_plan(self) -> SavePlan:
        plan = super().create_local_plan()
        empty = {name for name, shard in self.shards.items() if not shard.local.numel()}
        self.plan = replace(
            plan, items=[self._with_offsets(item) for item in plan.items if item.index.fqn not in empty]
        )
        return self.plan

    def lookup_object(self, index: MetadataIndex) -> Any:
        return self.state_dict[index.fqn]

    def _with_offsets(self, item: WriteItem) -> WriteItem:
        """Returns the same item, positioned at its row of the whole tensor."""
        shard = self.shards.get(item.index.fqn)
        if shard is None or item.tensor_data is None:
            return item
        offsets, local = _offsets(shard), shard.local
        data = replace(
            item.tensor_data,
            chunk=ChunkStorageMetadata(offsets=offsets, sizes=local.size()),
            size=torch.Size([shard.total, *local.shape[1:]]),
        )
        index = MetadataIndex(item.index.fqn, offsets)
        return replace(item, index=index, type=WriteItemType.SHARD, tensor_data=data)


class _LoadPlanner(DefaultLoadPlanner):
    def __init__(self, folder: Path, tensors: Tensors, may_lack: Collection[str]) -> None:
        super().__init__()
        self.folder, self.tensors, self.may_lack = folder, tensors, may_lack

    def create_local_plan(self) -> LoadPlan:
        if self.metadata is None:
            raise RuntimeError("set_up_planner was not called")
        saved = self.metadata.state_dict_metadata
        requests = []
        for name, value in self.tensors.items():
            shard = value if isinstance(value, RowShard) else RowShard(value, 0, value.shape[0] if value.dim() else 0)
            whole = torch.Size([shard.total, *shard.local.shape[1:]]) if shard.local.dim() else torch.Size([])
            found = saved.get(name)
            if found is None and name in self.may_lack:
                continue
            if not isinstance(found, TensorStorageMetadata):
                raise OvocrError(f"{self.folder}: the checkpoint has no {name}")
            if found.size != whole:
                raise OvocrError(f"{self.folder}: {name}: expected shape {list(whole)}, found {list(found.size)}")
            if not shard.local.numel() and shard.local.dim():
                continue  # more ranks than rows: this rank has no rows
            chunk = ChunkStorageMetadata(offsets=_offsets(shard) if whole else whole, sizes=shard.local.size())
            requests += create_read_items_for_chunk_list(name, found, [chunk])
        return LoadPlan(requests)

    def lookup_tensor(self, index: MetadataIndex) -> Tensor:
        return self.state_dict[index.fqn]
