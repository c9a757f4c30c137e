"""Limits on one input of a parser: seconds of the processor and bytes of memory."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SECONDS = 5.0
# Address space beyond what the process has: a part that does not depend on the input, and a factor of its size.
FIXED_BYTES = 64 * 2**20
FACTOR = 32


class SlowError(BaseException):
    """An input takes more than SECONDS. No parser catches it."""


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Runs the block, which parses ``size`` bytes, within the limits.

    Raises SlowError, and MemoryError where the block asks for more memory. Code in C is interrupted when it returns.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + FIXED_BYTES + FACTOR * size
    before = signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SlowError(f"takes more than {SECONDS:.0f} s")
