"""Which rank has failed, told by the ranks that are left.

A rank that dies or hangs shows in the others as a collective that fails or takes too long, which names nobody. The
store that brought the ranks together is asked then: a rank that failed has left its reason there, one that is left says
so, and one that is silent is the one that died or hangs.
"""

import contextlib
import os
import socket
import time
from datetime import timedelta
from types import TracebackType

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from ovocr.base.errors import OvocrError

# What ranks that are left have to say so; their own collectives fail within moments of each other.
_PATIENCE_S = 5.0
_LOST = "lost"


class RollCall:
    """What the ranks of a run leave in a store that all of them reach. A context manager around all they do together.

    An error that leaves it is told to the other ranks; where it is only that another one is gone, it becomes an
    OvocrError that names that one.
    """

    def __init__(self, store: Store, rank: int, world: int) -> None:
        self._store, self._rank, self._world = PrefixStore("ovocr", store), rank, world
        self._store.set(f"who/{rank}", f"{socket.gethostname()}, process {os.getpid()}")

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            explained = self.explain(error)
            if explained is not error:
                raise explained from error

    def explain(self, error: BaseException) -> BaseException:
        """The error that this rank ends with, as a user should read it."""
        if not _is_lost_touch(error):
            return self._own_failure(error)
        self._tell(_LOST)
        reason = self._silent() or f"no rank answers another: {_first_line(error)}"
        return OvocrError(f"rank {self._rank}: the run has ended, since {reason}")

    def _own_failure(self, error: BaseException) -> BaseException:
        told = _first_line(error) if isinstance(error, OvocrError) else f"{type(error).__name__}: {_first_line(error)}"
        self._tell(told)
        if self._rank and isinstance(error, OvocrError) and self._told(0, wait_s=2.0) == told:
            return SystemExit(error.exit_code)  # the first rank prints what all of them have met
        return error

    def _silent(self) -> str:
        """The ranks that failed, or did not say anything before our patience ended."""
        if self._told(self._rank, wait_s=0.1) is None:
            return "rank 0, or the torchrun that started the ranks, is gone"  # one of them keeps the store
        deadline = time.monotonic() + _PATIENCE_S
        reasons = []
        for rank in range(self._world):
            told = self._told(rank, wait_s=max(0.1, deadline - time.monotonic()))
            if told is None:
                reasons.append(f"rank {rank} ({self._get(f'who/{rank}')}) does not answer: it died or hangs")
            elif told != _LOST:
                reasons.append(f"rank {rank} ({self._get(f'who/{rank}')}) failed: {told}")
        return "; ".join(reasons)

    def _tell(self, text: str) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # it may be gone with the process that kept it
            self._store.set(f"end/{self._rank}", text)

    def _told(self, rank: int, *, wait_s: float) -> str | None:
        key = f"end/{rank}"
        try:
            self._store.wait([key], timedelta(seconds=wait_s))
        except (RuntimeError, OSError):
            return None
        return self._get(key)

    def _get(self, key: str) -> str:
        try:
            return self._store.get(key).decode("utf-8", "replace")
        except (RuntimeError, OSError):
            return "unknown"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _is_lost_touch(error: BaseException) -> bool:
    """Whether a collective failed or took too long. Gloo says so by plain RuntimeErrors, told by their text alone."""
    causes = getattr(error, "failures", None)  # of torch.distributed.checkpoint, which gathers them from the ranks
    if isinstance(causes, dict):
        return any(_is_lost_touch(cause) for cause, _ in causes.values())
    if isinstance(error, OvocrError) and error.__cause__ is not None:
        return _is_lost_touch(error.__cause__)
    if isinstance(error, dist.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("gloo" in text or "nccl" in text or "process group" in text)
