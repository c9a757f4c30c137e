"""Atomic file writing and lock files. A file gets its final name only when it is complete."""

import errno
import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from ovocr.base.errors import OvocrError

PARTIAL_SUFFIX = ".partial"
_LOCK_PAUSE_S = 0.2


def partial_path(path: Path) -> Path:
    """Returns the path to which a file is written before it is complete, on the same file system as ``path``.

    The name is fixed, so a rerun overwrites the partial file of a killed run.
    """
    return path.with_name(path.name + PARTIAL_SUFFIX)


def publish(partial: Path, path: Path) -> None:
    """Flushes ``partial`` to disk, renames it to ``path`` and flushes the rename. Raises OSError."""
    fsync(partial)
    os.replace(partial, path)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Flushes a file, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Makes a folder and its missing parents and flushes their names to disk; an existing folder is kept.

    Without the flush, a power cut may remove a new folder together with the flushed files in it. Raises OSError.
    """
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in new:
        fsync(folder.parent)


def fsync_tree(folder: Path) -> None:
    """Flushes a folder to disk with all files and folders in it; symbolic links are not followed."""
    for root, _, names in os.walk(folder):
        for path in (Path(root, name) for name in names):
            if path.is_file() and not path.is_symlink():
                fsync(path)
        fsync(Path(root))


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yields a path to write to. It is renamed to ``path`` if the block succeeds and removed if the block raises.

    Raises FileExistsError if ``path`` is a folder, a device or a pipe.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "exists and is not a file", str(path))
    make_folder(path.parent)
    partial = partial_path(path)
    try:
        yield partial
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # write() does not set it
            error.filename = str(path)
        raise
    publish(partial, path)


@contextmanager
def written_by_any(path: Path) -> Iterator[IO[bytes]]:
    """Yields a file that becomes ``path`` if the block succeeds; for a file that several processes may write at once.

    Its name until then is unique; that of ``written_aside`` is fixed. The folder must exist. Raises OSError.
    """
    descriptor, own = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}-")
    try:
        with open(descriptor, "wb") as file:
            yield file
        fsync(Path(own))
        os.replace(own, path)
    except BaseException:
        Path(own).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with Unix line ends, completely or not at all."""
    with written_aside(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Holds the lock file ``path`` during the block and removes it afterwards.

    busy: the message if another process holds the lock; its host and process id are appended.

    Raises OvocrError if another process holds the lock. The system releases the lock of a process that dies, so the
    lock file of a killed run blocks nobody.
    """
    make_folder(path.parent)
    descriptor = _lock(path, busy)
    try:
        yield
    finally:
        # A lock can be lost while its holder lives; the file then belongs to the next holder.
        with suppress(OSError):
            if is_at(descriptor, path) and path.read_bytes() == process_name().encode():
                path.unlink(missing_ok=True)
        os.close(descriptor)


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
            time.sleep(_LOCK_PAUSE_S)
        yield


def _lock(path: Path, busy: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace")
            os.close(descriptor)
            raise OvocrError(f"{busy}: {holder}" if holder else busy) from None
        if is_at(descriptor, path):
            os.truncate(descriptor, 0)
            os.write(descriptor, process_name().encode())
            return descriptor
        os.close(descriptor)  # the last holder removed the file meanwhile: this lock is on a deleted file


def process_name() -> str:
    """Returns the name of this process in messages and lock files."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def is_at(descriptor: int, path: Path) -> bool:
    """Returns whether an open file is the one at ``path``; a lock file may have been removed or replaced meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
