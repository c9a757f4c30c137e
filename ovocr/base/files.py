"""Files that appear under their final names only when they are complete."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovocr.base.errors import OvocrError

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
    """Give a path to write to; when the block ends without an error, it becomes ``path``, else it is removed.

    Raises FileExistsError where ``path`` is a folder, a device or a pipe, which the file would replace.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "there is something that is not a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # as write() leaves it
            error.filename = str(path)
        raise
    publish(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, complete or not at all."""
    with written_aside(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file ``path``; it is gone again behind the block. Raises OvocrError where another process holds it.

    busy: what is said then; the process follows.

    The system drops the lock of a process that dies, so what a killed run leaves is in nobody's way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(path, busy)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path, busy: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace")
            os.close(descriptor)
            raise OvocrError(f"{busy}: {holder}" if holder else busy) from None
        if _is_at(descriptor, path):
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{socket.gethostname()}, process {os.getpid()}".encode())
            return descriptor
        os.close(descriptor)  # the last holder has just removed the file: this is a lock on a file without a name


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
