"""Locks of shards whose holder may be about to die."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked

_PAUSE_S = 0.2


@contextmanager
def locked_in_time(path: Path, busy: str, patience_s: float) -> Iterator[None]:
    """As ``locked``, but wait up to ``patience_s`` seconds for the holder to let go."""
    deadline = time.monotonic() + patience_s
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
