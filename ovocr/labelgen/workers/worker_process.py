"""A worker process as its parent sees it."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from ovocr.labelgen.workers.worker_loop import serve

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 5.0

# Called in a worker with its number; returns the function that turns a batch of items into the list of results.
Factory = Callable[[int], Callable[[list[Any]], list[Any]]]
_Item = TypeVar("_Item")


@dataclass(eq=False)
class WorkerProcess(Generic[_Item]):
    """A worker process and its pending batch.

    deadline: when its next message is due, on the monotonic clock. starts: number of consecutive starts, including
    this one, since a worker of this number was last ready. items: number of processed items. resident: bytes of memory
    that it used after its last batch.
    """

    number: int
    process: Any
    connection: Connection
    deadline: float
    starts: int
    ready: bool = False
    batch: list[_Item] = field(default_factory=list)
    items: int = 0
    resident: int = 0

    @classmethod
    def start(cls, factory: Factory, number: int, starts: int = 1) -> "WorkerProcess[_Item]":
        """Starts the process and sends it the factory."""
        # Spawned, not forked: the parent may have threads, and a fork would copy their locks.
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        with suppress(OSError):  # the process died already, which the pool notices by its closed connection
            ours.send(partial(factory, number))
        return cls(number, process, ours, time.monotonic() + START_TIMEOUT_S, starts)

    def is_due(self) -> bool:
        """Returns True if the process must send a message before its deadline."""
        return bool(self.batch) or not self.ready

    def exit_text(self) -> str:
        """Returns how the process ended, such as ``signal 9``."""
        self.process.join(STOP_TIMEOUT_S)
        code = self.process.exitcode
        if code is None:
            return "it closed its connection"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """Kills the process and waits for its end."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.process.close()
