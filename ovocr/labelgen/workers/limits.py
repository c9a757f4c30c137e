"""Limits after which a healthy worker process is replaced, to bound memory leaks."""

from dataclasses import dataclass

from ovocr.base.errors import UsageError
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.totals import Replaced
from ovocr.processes.memory import available_memory

# A worker uses half of this before its first image: a lower limit would replace it too often.
LEAST_SHARE = 10**9


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """A worker over one of these limits is replaced before its next batch.

    items: number of processed items. memory: bytes of memory. None for no limit.
    """

    items: int | None = None
    memory: int | None = None

    @classmethod
    def of(cls, options: RunOptions, workers: int) -> "WorkerLimits":
        """Returns the limits of a run with ``workers`` workers."""
        memory = memory_share(workers) if options.worker_memory is None else options.worker_memory
        return cls(items=options.worker_images, memory=memory)

    def check_start(self, resident: int) -> None:
        """Raises UsageError if a worker is over the memory limit before its first batch.

        resident: bytes of memory that it uses.
        """
        if self.memory is not None and resident > self.memory:
            raise UsageError(
                f"--worker-memory: a worker uses {format_gb(resident)} before its first image, but the limit is "
                f"{format_gb(self.memory)}; set a higher limit, with fewer --workers if memory is short"
            )

    def exceeded(self, items: int, resident: int) -> Replaced | None:
        """Returns the limit that a worker exceeds, memory first, or None."""
        if self.memory is not None and resident > self.memory:
            return Replaced.MEMORY
        if self.items is not None and items >= self.items:
            return Replaced.IMAGES
        return None


def memory_share(workers: int) -> int:
    """Returns the default memory limit in bytes: an equal share for each worker and the parent."""
    return max(LEAST_SHARE, available_memory() // (workers + 1))


def format_gb(size: int) -> str:
    """Returns a number of bytes as text, such as ``0.4 GB``."""
    return f"{size / 1e9:.1f} GB"
