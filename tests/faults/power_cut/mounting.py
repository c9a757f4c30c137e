"""Mounts a folder through a file system of our own, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.power_cut.server import unmount

_ROOT = Path(__file__).resolve().parents[3]
_END_S = 60


def skip_without_fuse() -> None:
    """Skips the test if this process may not mount."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse is missing or may not be opened")
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")


@contextmanager
def mounted(folder: Path, mount_point: Path, *, cache_s: float = 0, log: Path | None = None) -> Iterator[Path]:
    """Shows ``folder`` at ``mount_point``, an empty folder, during the block.

    Locks (flock, lockf) are local to each mount: two mounts of a folder are two hosts that do not share locks.

    cache_s: seconds for which the kernel of a mount may keep names and attributes, as an NFS client does. With 0,
    changes of another mount are seen at once; data are read again when a file is opened.

    log: a file that gets the log of all changes; ``log.read_log`` reads it.

    The process that serves ends with the block, and when this process dies.
    """
    skip_without_fuse()
    mount_point.mkdir(parents=True, exist_ok=True)
    arguments = [str(folder), str(mount_point), str(cache_s), *([str(log)] if log else [])]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.power_cut", *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches the test first
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == b"mounted\n", f"{mount_point}: the file system was not mounted"
        yield mount_point
    finally:
        server.stdin.close()
        try:
            server.wait(_END_S)
        finally:
            server.kill()
            unmount(mount_point)
            server.stdout.close()
