"""Files that appear under their final names only when they are complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_SUFFIX = ".partial"


def partial_path(path: Path) -> Path:
    """Where a file is written before it is complete: beside ``path``, so that the rename stays on one file system.

    The name is fixed, so a rerun after a kill overwrites what the killed run left.
    """
    return path.with_name(path.name + PARTIAL_SUFFIX)


def publish(partial: Path, path: Path) -> None:
    """Flush ``partial`` to the disk, rename it to ``path``, flush the rename. Raises OSError."""
    fsync(partial)
    os.replace(partial, path)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends without an error, it becomes ``path``, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    publish(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, complete or not at all."""
    with written_aside(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
