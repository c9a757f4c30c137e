"""When a worker process is replaced though nothing is wrong with it: what leaks is bounded by how long it lives."""

from dataclasses import dataclass

from ovocr.base.errors import UsageError
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.totals import Replaced
from ovocr.processes.memory import available_memory

# Less is not worth replacing a worker for, which holds half of it before its first picture.
LEAST_SHARE = 10**9


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """Between two batches, a worker past one of these is replaced.

    items: that it has done. memory: bytes that it holds. None for no limit.
    """

    items: int | None = None
    memory: int | None = None

    @classmethod
    def of(cls, options: RunOptions, workers: int) -> "WorkerLimits":
        """Those of a run with so many workers."""
        memory = memory_share(workers) if options.worker_memory is None else options.worker_memory
        return cls(items=options.worker_images, memory=memory)

    def check_start(self, resident: int) -> None:
        """Raises UsageError where a worker without any work holds more than it may: it would do one batch a life."""
        if self.memory is not None and resident > self.memory:
            raise UsageError(
                f"--worker-memory: a worker holds {format_gb(resident)} before its first image, and may hold "
                f"{format_gb(self.memory)}; allow more, with fewer --workers where memory is short"
            )

    def passed(self, items: int, resident: int) -> Replaced | None:
        """The limit that a worker is past, memory first."""
        if self.memory is not None and resident > self.memory:
            return Replaced.MEMORY
        if self.items is not None and items >= self.items:
            return Replaced.IMAGES
        return None


def memory_share(workers: int) -> int:
    """Bytes that each worker may hold where the user does not say: all of them and the parent hold as much."""
    return max(LEAST_SHARE, available_memory() // (workers + 1))


def format_gb(size: int) -> str:
    """Such as ``0.4 GB``."""
    return f"{size / 1e9:.1f} GB"
