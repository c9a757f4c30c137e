"""Keeps the size of a folder of blocks below a limit."""

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ovocr.base.files import PARTIAL_SUFFIX

_TOTAL = "size.txt"
# The folder is searched once for many blocks: this share of the limit is freed beyond what is needed.
_SLACK = 0.05
# What a killed process has left: a file that is being written is younger.
_LEFT_BEHIND_S = 3600.0


class _File(NamedTuple):
    used: float  # a file that is being written sorts last
    size: int
    path: Path


def make_room(folder: Path, partial: Path, size: int, limit: int) -> None:
    """Makes the file ``partial`` of this size, and before removes the least recently used blocks to keep the limit.

    The caller holds the folder's lock. The total size is kept in a file. It is an upper bound: a process that is killed
    while it writes, or a file that someone removes, makes it too large, which a search of the folder corrects. Raises
    OSError.
    """
    try:
        total = int((folder / _TOTAL).read_text())
    except (OSError, ValueError):
        total = -1
    if total < 0 or total + size > limit:
        total = _remove_oldest(folder, limit - size)
    with partial.open("wb") as file:
        file.truncate(size)
    (folder / _TOTAL).write_text(str(total + size))


def _remove_oldest(folder: Path, most: int) -> int:
    """Removes files until the rest is not larger than ``most`` bytes, then a few more. Returns the size of the rest."""
    files = sorted(_files(folder))
    total = sum(file.size for file in files)
    target = most if total <= most else most - int(_SLACK * most)
    for file in files:
        if total <= target or file.path.name.endswith(PARTIAL_SUFFIX):
            break
        file.path.unlink(missing_ok=True)
        total -= file.size
    return total


def _files(folder: Path) -> Iterator[_File]:
    """Yields the blocks, and removes what killed processes have left."""
    now = time.time()
    for data_set in [entry for entry in os.scandir(folder) if entry.is_dir()]:
        for entry in os.scandir(data_set.path):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            is_block = entry.name.endswith(".block")
            if not is_block and now - status.st_mtime > _LEFT_BEHIND_S:
                Path(entry.path).unlink(missing_ok=True)
            elif is_block or entry.name.endswith(PARTIAL_SUFFIX):
                yield _File(status.st_mtime if is_block else math.inf, status.st_size, Path(entry.path))
