"""Locks between processes and threads that fetch the same data. A process that dies or forks leaves no lock."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovocr.base.files import is_at

_PAUSE_S = 0.02

# A child shares the locks of open descriptors with its parent, and would hold them after the parent has closed them.
_guard = threading.Lock()
_open: set[int] = set()


def _close_inherited() -> None:
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_close_inherited)


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Yields whether the block holds the lock file ``path``, which is removed after the block.

    False if another process or thread holds it. Raises OSError if the file system has no locks.
    """
    with _guard:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _open.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = is_at(descriptor, path)  # else the last holder has removed the file meanwhile
        except BlockingIOError:
            is_held = False
        try:
            yield is_held
        finally:
            if is_held:
                path.unlink(missing_ok=True)
    finally:
        with _guard:
            _open.discard(descriptor)
            os.close(descriptor)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds the lock file ``path`` during the block; waits for another holder, who needs it for a moment only."""
    while True:
        with try_lock(path) as is_held:
            if is_held:
                yield
                return
        time.sleep(_PAUSE_S)
