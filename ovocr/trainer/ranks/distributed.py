"""Collectives of the ranks. Without a process group there is a single rank and nothing is sent."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from ovocr.base.errors import OvocrError, UsageError
from ovocr.trainer.ranks.failure_detection import FailureDetector, first_line, within
from ovocr.trainer.ranks.hosts import number_ranks_over_hosts
from ovocr.trainer.ranks.retransmission import limit_retransmission_pauses

# Bytes that gathering tensors of the CPU needs on a device at a time.
_GATHERED_BYTES = 2**26
# torch notices its own timeout within this time.
_MEETING_GRACE_S = 15.0


@dataclass(frozen=True)
class Ranks:
    """This rank and the ranks it communicates with; ``group`` is None for the single rank of a plain process."""

    rank: int = 0
    world: int = 1
    group: dist.ProcessGroup | None = None

    @classmethod
    def of(cls, group: dist.ProcessGroup | None) -> "Ranks":
        """Returns the ranks of ``group``. None selects the default group if it exists, else a single rank."""
        if group is None:
            if not (dist.is_available() and dist.is_initialized()):
                return cls()
            group = dist.group.WORLD
        return cls(rank=dist.get_rank(group), world=dist.get_world_size(group), group=group)

    def __deepcopy__(self, memo: dict[int, object]) -> "Ranks":
        return self  # a copied model uses the same ranks; a process group cannot be copied

    def sum(self, tensor: Tensor) -> Tensor:
        """Sums over the ranks in place; every rank passes the same shape."""
        if self.world > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def gather_numbers(self, numbers: Sequence[int], device: torch.device) -> list[list[int]]:
        """Returns the whole numbers of every rank, in rank order; every rank passes as many."""
        if self.world == 1:
            return [list(numbers)]
        table = [[0] * len(numbers)] * self.world
        table[self.rank] = list(numbers)
        gathered: list[list[int]] = self.sum(torch.tensor(table, dtype=torch.int64, device=device)).tolist()
        return gathered

    def from_first_rank(self, value: int, device: torch.device) -> int:
        """Returns rank 0's value on every rank."""
        return int(self.sum(torch.tensor(value if self.rank == 0 else 0, device=device)).item())

    def broadcast(self, tensor: Tensor, source: int) -> Tensor:
        """Copies the tensor of rank ``source`` to every rank, in place; every rank passes the same shape."""
        if self.group is not None:
            dist.broadcast(tensor, src=dist.get_global_rank(self.group, source), group=self.group)
        return tensor

    def gather_rows(self, tensor: Tensor, sizes: list[int]) -> Tensor:
        """Concatenates every rank's rows in rank order; ``sizes`` contains the number of rows of each rank."""
        if self.world == 1:
            return tensor
        longest = max(sizes)
        padded = tensor.new_zeros((longest, *tensor.shape[1:]))
        padded[: tensor.shape[0]] = tensor
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def gather_on_cpu(self, tensor: Tensor, device: torch.device) -> Tensor:
        """Concatenates every rank's rows of a tensor on the CPU, in rank order, on the CPU of every rank.

        device: the device on which the ranks communicate; it holds a limited number of rows at a time.
        """
        if self.world == 1:
            return tensor
        sizes = [size for (size,) in self.gather_numbers([tensor.shape[0]], device)]
        whole = tensor.new_empty((sum(sizes), *tensor.shape[1:]))
        parts = whole.split(sizes)
        row_bytes = tensor.element_size() * math.prod(tensor.shape[1:])
        rows = max(1, _GATHERED_BYTES // (2 * self.world * row_bytes))  # the parts, and their concatenation
        for first in range(0, max(sizes), rows):
            own = [max(0, min(rows, size - first)) for size in sizes]
            piece = self.gather_rows(tensor[first : first + rows].to(device), own).cpu()
            for part, rows_of_rank in zip(parts, piece.split(own), strict=True):
                part[first : first + rows] = rows_of_rank
        return whole


def row_range(total: int, rank: int, world: int) -> tuple[int, int]:
    """Returns the range [first, end) of a rank's consecutive rows: C // W rows, one more if rank < C % W."""
    share, longer = divmod(total, world)
    first = rank * share + min(rank, longer)
    return first, first + share + (rank < longer)


@contextmanager
def join_ranks(device: torch.device, timeout_s: float = 600.0) -> Iterator[Ranks]:
    """Joins the ranks started by torchrun (read from its environment variables), or yields a single rank.

    A collective that takes longer than ``timeout_s`` seconds raises, so the other ranks do not hang if one dies. If an
    error in the block is caused only by the loss of another rank, raises OvocrError naming that rank. Raises OvocrError
    if the ranks do not meet within that time.
    """
    number_ranks_over_hosts()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    timeout = timedelta(seconds=timeout_s)
    address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        # torch's timeout does not cover its first exchange with the store: another program may answer there, or none.
        met = within(timeout_s + _MEETING_GRACE_S, lambda: next(rendezvous("env://", timeout=timeout)))
        if met is None:
            raise dist.DistNetworkError("what listens there does not answer as the store of a run does")
        store, rank, world = met
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    except dist.DistError as error:
        raise OvocrError(
            f"rank {os.environ.get('RANK')}: cannot meet the other ranks at {address}: {first_line(error)}; check that "
            "all machines have started, each with its own number and as many ranks, and that the port is free"
        ) from error
    limit_retransmission_pauses(give_up_s=2 * timeout_s)  # collectives give up before
    try:
        with FailureDetector(store, rank, world, address):
            yield Ranks.of(None)
    finally:
        leave_group()


def leave_group() -> None:
    """Leaves the default process group, so the process can exit.

    A gloo thread may still hold the tensor of the last collective and need Python's lock to release it. If the process
    exits immediately, it aborts when that thread meets the interpreter's finalisation (seen with torch 2.13). The lock
    is free while the main thread sleeps.
    """
    dist.destroy_process_group()
    time.sleep(0.05)


def choose_device(wanted: str) -> torch.device:
    """Returns the device of this rank for "auto", "cpu" or "cuda".

    Raises UsageError if CUDA is requested but not available.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda was requested, but torch finds no CUDA device")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
