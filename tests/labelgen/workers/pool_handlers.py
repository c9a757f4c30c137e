"""Factories for worker processes under test. Each item tells its worker what to do."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError

# Memory that a worker never frees.
hoard: list[bytes] = []


@dataclass(frozen=True)
class Obedient:
    """Makes a worker that follows the orders in its items. folder: for its log and marks."""

    folder: Path

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        return lambda batch: [self.obey(item, len(batch), worker) for item in batch]

    def obey(self, item: tuple[str, Any], batch_size: int, worker: int) -> Any:
        order, value = item
        if order == "batch size":
            return batch_size
        if order == "number":
            time.sleep(0.3)
            return worker
        if order == "hang":
            time.sleep(60)
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "raise":
            raise RuntimeError("unexpected")
        if order == "die once":
            mark = self.folder / f"died-{value}"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if order == "slow":
            time.sleep(0.3)
        if order in ("log", "die once"):
            with (self.folder / "log").open("a") as log:
                log.write(f"start {value}\n")
                log.flush()
                time.sleep(0.2)
                log.write(f"end {value}\n")
        if order == "hoard":
            hoard.append(b"x" * value)
            return os.getpid()
        if order == "use":
            return os.getpid() if b"x" * value else None
        if order == "slow pid":
            time.sleep(0.3)
            return os.getpid()
        if order == "oom score":
            return int(Path("/proc/self/oom_score_adj").read_text())
        if order == "pid":
            return os.getpid()
        if order == "threads":
            return os.environ["OMP_NUM_THREADS"]
        return value


@dataclass(frozen=True)
class Slow(Obedient):
    """Makes a worker that starts slowly. Its answers: process id, and times of its start, readiness and answer."""

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        began = time.monotonic()
        time.sleep(0.4)
        ready = time.monotonic()

        def answer(batch: list[Any]) -> list[Any]:
            time.sleep(sum(seconds for _, seconds in batch))
            return [(os.getpid(), began, ready, time.monotonic()) for _ in batch]

        return answer


class Refuses:
    """A factory that raises an OvocrError."""

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        raise OvocrError("models/rec: no model there")


class DiesAtStart:
    """A factory that exits its process."""

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        os._exit(3)
