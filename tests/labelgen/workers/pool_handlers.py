"""Factories for worker processes under test. Each item is an instruction to its worker."""

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
class Instructed:
    """Makes a worker that executes its items. folder: folder of its log and markers."""

    folder: Path

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        return lambda batch: [self.execute(item, len(batch), worker) for item in batch]

    def execute(self, item: tuple[str, Any], batch_size: int, worker: int) -> Any:
        instruction, value = item
        if instruction == "batch size":
            return batch_size
        if instruction == "number":
            time.sleep(0.3)
            return worker
        if instruction == "hang":
            time.sleep(60)
        if instruction == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if instruction == "raise":
            raise RuntimeError("unexpected")
        if instruction == "die once":
            mark = self.folder / f"died-{value}"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if instruction == "slow":
            time.sleep(0.3)
        if instruction in ("log", "die once"):
            with (self.folder / "log").open("a") as log:
                log.write(f"start {value}\n")
                log.flush()
                time.sleep(0.2)
                log.write(f"end {value}\n")
        if instruction == "hoard":
            hoard.append(b"x" * value)
            return os.getpid()
        if instruction == "use":
            return os.getpid() if b"x" * value else None
        if instruction == "slow pid":
            time.sleep(0.3)
            return os.getpid()
        if instruction == "oom score":
            return int(Path("/proc/self/oom_score_adj").read_text())
        if instruction == "pid":
            return os.getpid()
        if instruction == "threads":
            return os.environ["OMP_NUM_THREADS"]
        return value


@dataclass(frozen=True)
class Slow(Instructed):
    """Makes a worker that starts slowly. Its answers: process id, and times of its start, readiness and answer."""

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        began = time.monotonic()
        time.sleep(0.4)
        ready = time.monotonic()

        def answer(batch: list[Any]) -> list[Any]:
            time.sleep(sum(seconds for _, seconds in batch))
            return [(os.getpid(), began, ready, time.monotonic()) for _ in batch]

        return answer


class RaisesAtStart:
    """A factory that raises an OvocrError."""

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        raise OvocrError("models/rec: no model there")


class DiesAtStart:
    """A factory that exits its process."""

    def __call__(self, worker: int) -> Callable[[list[Any]], list[Any]]:
        os._exit(3)
