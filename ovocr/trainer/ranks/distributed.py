"""What the ranks of a run do together. Without a process group there is one rank and nothing is sent."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from ovocr.base.errors import UsageError
from ovocr.trainer.ranks.roll_call import RollCall


@dataclass(frozen=True)
class Ranks:
    """This rank's place among the ranks of a process group; ``group`` None is the single rank of a plain process."""

    rank: int = 0
    world: int = 1
    group: dist.ProcessGroup | None = None

    @classmethod
    def of(cls, group: dist.ProcessGroup | None) -> "Ranks":
        """The ranks of ``group``; of the default group where it is None and there is one; else a single rank."""
        if group is None:
            if not (dist.is_available() and dist.is_initialized()):
                return cls()
            group = dist.group.WORLD
        return cls(rank=dist.get_rank(group), world=dist.get_world_size(group), group=group)

    def __deepcopy__(self, memo: dict[int, object]) -> "Ranks":
        return self  # a copy of a model talks to the same ranks; a process group cannot be copied

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over the ranks, in place; every rank passes the same shape."""
        if self.world > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def sizes(self, rows: int, device: torch.device) -> list[int]:
        """``rows`` of every rank, in rank order."""
        if self.world == 1:
            return [rows]
        sizes = torch.zeros(self.world, dtype=torch.int64, device=device)
        sizes[self.rank] = rows
        return [int(size) for size in self.sum(sizes).tolist()]

    def agree(self, value: int, device: torch.device) -> int:
        """The first rank's value, on every rank."""
        return int(self.sum(torch.tensor(value if self.rank == 0 else 0, device=device)).item())

    def broadcast(self, tensor: Tensor, source: int) -> Tensor:
        """The tensor of the rank ``source`` on every rank, in place; every rank passes the same shape."""
        if self.group is not None:
            dist.broadcast(tensor, src=dist.get_global_rank(self.group, source), group=self.group)
        return tensor

    def gather_rows(self, tensor: Tensor, sizes: list[int]) -> Tensor:
        """Concatenate every rank's rows in rank order; ``sizes`` gives the number of rows of each."""
        if self.world == 1:
            return tensor
        longest = max(sizes)
        padded = tensor.new_zeros((longest, *tensor.shape[1:]))
        padded[: tensor.shape[0]] = tensor
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def row_range(total: int, rank: int, world: int) -> tuple[int, int]:
    """First and one past the last of the consecutive rows of a rank: C // W of them, one more if rank < C % W."""
    share, longer = divmod(total, world)
    first = rank * share + min(rank, longer)
    return first, first + share + (rank < longer)


@contextmanager
def joined(device: torch.device, timeout_s: float = 600.0) -> Iterator[Ranks]:
    """Join the ranks that torchrun started (its environment variables say so), or be a single rank.

    A collective that takes longer than ``timeout_s`` raises, so survivors of a dead rank do not hang. Where an error of
    the block is only that another rank is gone, OvocrError names that one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    timeout = timedelta(seconds=timeout_s)
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    try:
        with RollCall(store, rank, world):
            yield Ranks.of(None)
    finally:
        leave()


def leave() -> None:
    """Leave the default process group, so that the process can end.

    A gloo thread may still hold the tensor of the last collective and want Python's lock to let go of it. A process
    that goes straight on to its end aborts where the thread meets the interpreter's finalisation (seen with torch
    2.13); while the main thread sleeps, the lock is free.
    """
    dist.destroy_process_group()
    time.sleep(0.05)


def choose_device(wanted: str) -> torch.device:
    """The device of this rank for "auto", "cpu" or "cuda". Raises UsageError where CUDA is wanted and not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda was asked for, and torch finds no CUDA device here")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
