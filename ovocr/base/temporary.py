"""Temporary folders that are removed by later processes if the process that made them was killed."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked

_LOCK = ".lock"
_NEW_S = 60.0
_PREFIX = "ovocr-"


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Makes a folder ovocr-PURPOSE-... for the block. Removes folders with this purpose that killed processes left."""
    prefix = f"{_PREFIX}{purpose}-"
    _remove_unused(f"{prefix}*", _NEW_S)
    root = Path(tempfile.mkdtemp(prefix=f"{prefix}{_main_process()}-"))
    try:
        with locked(root / _LOCK, "busy"):
            yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def remove_folders_of_workers() -> None:
    """Removes the folders of worker processes of this process that were terminated."""
    _remove_unused(f"{_PREFIX}*-{_main_process()}-*", 0.0)


def _main_process() -> int:
    """Returns the process id of the command, also in its worker processes."""
    parent = parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid


def _remove_unused(pattern: str, age_s: float) -> None:
    """Removes folders whose process has ended. A new folder may not be locked yet: age_s is the least age."""
    for left in Path(tempfile.gettempdir()).glob(pattern):
        with suppress(OvocrError, OSError):  # locked by an active process, of another user, or removed meanwhile
            if time.time() - left.stat().st_mtime >= age_s and not left.is_symlink():
                with locked(left / _LOCK, "busy"):
                    shutil.rmtree(left)
