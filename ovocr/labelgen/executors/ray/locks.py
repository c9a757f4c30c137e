"""Locks whose holder may be about to die."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked

_PAUSE_S = 0.2


@contextmanager
def locked_within(path: Path, busy: str, timeout_s: float) -> Iterator[None]:
    """Holds a lock as ``locked`` does, but waits up to ``timeout_s`` seconds for another holder to release it."""
    deadline = time.monotonic() + timeout_s
    with ExitStack() as lock:
        while True:
            try:
                lock.enter_context(locked(path, busy))
                break
            except OvocrError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE_S)
        yield
