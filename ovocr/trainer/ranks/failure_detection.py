"""Detection of the failed rank by the remaining ranks.

If a rank dies or hangs, the other ranks only see a collective that fails or times out, which does not name the rank.
They then consult the store through which the ranks met: a failed rank has left its reason there, a remaining rank
reports that it lost contact, and a silent rank has died or hangs.
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

# Time for the remaining ranks to report; their collectives fail within moments of each other.
_REPORT_TIMEOUT_S = 5.0
_LOST_CONTACT = "lost"


class FailureDetector:
    """A context manager that shares this rank's errors with the other ranks through their common store.

    If an error is caused only by the loss of another rank, it is replaced by an OvocrError that names that rank.
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
        """Publishes the error and returns the error to raise: the same error, or an OvocrError that names the failed
        rank."""
        if not _is_collective_failure(error):
            return self._own_failure(error)
        self._publish(_LOST_CONTACT)
        reason = self._failed_ranks() or f"the ranks cannot reach each other: {_first_line(error)}"
        return OvocrError(f"rank {self._rank}: the run ended because {reason}")

    def _own_failure(self, error: BaseException) -> BaseException:
        line = _first_line(error) if isinstance(error, OvocrError) else f"{type(error).__name__}: {_first_line(error)}"
        self._publish(line)
        if self._rank and isinstance(error, OvocrError) and self._report_of(0, wait_s=2.0) == line:
            return SystemExit(error.exit_code)  # rank 0 prints the error that all ranks share
        return error

    def _failed_ranks(self) -> str:
        """Returns a description of the ranks that failed or did not report in time."""
        if self._report_of(self._rank, wait_s=0.1) is None:
            return "rank 0, or the torchrun that started the ranks, is gone"  # one of the two hosts the store
        deadline = time.monotonic() + _REPORT_TIMEOUT_S
        reasons = []
        for rank in range(self._world):
            report = self._report_of(rank, wait_s=max(0.1, deadline - time.monotonic()))
            if report is None:
                reasons.append(f"rank {rank} ({self._get(f'who/{rank}')}) does not answer: it died or hangs")
            elif report != _LOST_CONTACT:
                reasons.append(f"rank {rank} ({self._get(f'who/{rank}')}) failed: {report}")
        return "; ".join(reasons)

    def _publish(self, text: str) -> None:
        with contextlib.suppress(RuntimeError, OSError):  # the store may be gone with the process that hosted it
            self._store.set(f"end/{self._rank}", text)

    def _report_of(self, rank: int, *, wait_s: float) -> str | None:
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


def _is_collective_failure(error: BaseException) -> bool:
    """Returns True if a collective failed or timed out. Gloo raises plain RuntimeErrors, recognised by their text."""
    causes = getattr(error, "failures", None)  # set by torch.distributed.checkpoint: the errors of all ranks
    if isinstance(causes, dict):
        return any(_is_collective_failure(cause) for cause, _ in causes.values())
    if isinstance(error, OvocrError) and error.__cause__ is not None:
        return _is_collective_failure(error.__cause__)
    if isinstance(error, dist.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("gloo" in text or "nccl" in text or "process group" in text)
