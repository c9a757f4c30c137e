"""Detection of the failed rank by the remaining ranks.

If a rank dies or hangs, the other ranks only see a collective that fails or times out, which does not name the rank.
They then consult the store through which the ranks met: a failed rank has left its reason there, a remaining rank
reports that it lost contact, and a silent rank has died or hangs. If the network to the host of the store is cut, no
operation of the store ends, whatever its timeout, so this rank consults it in a thread that it can leave.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import TypeVar

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from ovocr.base.errors import OvocrError
from ovocr.trainer.ranks.stuck_launcher import end_launcher_if_stuck

Answer = TypeVar("Answer")

# Time for the remaining ranks to report; their collectives fail within moments of each other.
_REPORT_TIMEOUT_S = 5.0
# Time for all questions to the store. It is longer than what a store in reach needs with all its timeouts.
_STORE_TIMEOUT_S = 3 * _REPORT_TIMEOUT_S
_LOST_CONTACT = "lost"


class FailureDetector:
    """A context manager that shares this rank's errors with the other ranks through their common store.

    If an error is caused only by the loss of another rank, it is replaced by an OvocrError that names that rank.

    address: host and port of the store, for messages.
    """

    def __init__(self, store: Store, rank: int, world: int, address: str) -> None:
        self._store, self._rank, self._world = PrefixStore("ovocr", store), rank, world
        self._address = address
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
        rank. Ends within 15 seconds."""
        if not _is_collective_failure(error):
            return within(_STORE_TIMEOUT_S, lambda: self._own_failure(error)) or error
        reason = within(_STORE_TIMEOUT_S, lambda: self._reason(error))
        if reason is None:
            reason = self._out_of_reach()
            end_launcher_if_stuck()
        return OvocrError(f"rank {self._rank}: the run ended because {reason}")

    def _reason(self, error: BaseException) -> str:
        self._publish(_LOST_CONTACT)
        return self._failed_ranks() or f"the ranks cannot reach each other: {first_line(error)}"

    def _out_of_reach(self) -> str:
        return (
            f"the store of the run at {self._address} cannot be reached from {socket.gethostname()}: that host, or the "
            "network between the two, is down"
        )

    def _own_failure(self, error: BaseException) -> BaseException:
        line = first_line(error) if isinstance(error, OvocrError) else f"{type(error).__name__}: {first_line(error)}"
        self._publish(line)
        if self._rank and isinstance(error, OvocrError) and self._report_of(0, wait_s=2.0) == line:
            return SystemExit(error.exit_code)  # rank 0 prints the error that all ranks share
        return error

    def _failed_ranks(self) -> str:
        """Returns a description of the ranks that failed or did not report in time."""
        if self._report_of(self._rank, wait_s=0.1) is None:
            return self._lost_store()
        deadline = time.monotonic() + _REPORT_TIMEOUT_S
        reasons = []
        for rank in range(self._world):
            report = self._report_of(rank, wait_s=max(0.1, deadline - time.monotonic()))
            if report is None:
                who = self._get(f"who/{rank}")
                elsewhere = "" if who.startswith(f"{socket.gethostname()}, ") else ", or its host cannot be reached"
                reasons.append(f"rank {rank} ({who}) does not answer: it died or hangs{elsewhere}")
            elif report != _LOST_CONTACT:
                reasons.append(f"rank {rank} ({self._get(f'who/{rank}')}) failed: {report}")
        return "; ".join(reasons)

    def _lost_store(self) -> str:
        """Returns the reason why the store does not answer."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_REPORT_TIMEOUT_S).close()
        except ConnectionRefusedError:
            pass
        except (OSError, ValueError):
            return self._out_of_reach()
        return "rank 0, or the torchrun that started the ranks, is gone"  # one of the two has the store

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


def within(seconds: float, ask: Callable[[], Answer]) -> Answer | None:
    """Returns the answer of a function, or None if it takes longer. The function then continues in its thread.

    Raises what the function raises.
    """
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="ovocr-store", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return answers[0] if answers else None


def first_line(error: BaseException) -> str:
    """Returns the first line of the error's text."""
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
