"""Mounts a folder as a file system whose reads wait, as those of a network file system do.

    python benchmarks/slow_disk.py FOLDER MOUNT [--latency-ms 2]

Needs Linux, root, and the packages fusepy (pip) and libfuse2 (apt). It waits --latency-ms before each read of up to
128 KiB, and serves as many reads at once as there are. It never writes. `umount MOUNT` ends it.
"""

import argparse
import errno
import os
import time
from pathlib import Path
from typing import Any

import fuse


class SlowFolder(fuse.Operations):  # type: ignore[misc]
    """A read-only view of a folder. latency_s: pause before each read, seconds."""

    def __init__(self, folder: Path, latency_s: float) -> None:
        self._folder, self._latency_s = str(folder), latency_s

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        try:
            status = os.lstat(self._folder + path)
        except OSError as error:
            raise fuse.FuseOSError(error.errno or errno.EIO) from error
        return {name: getattr(status, name) for name in ("st_mode", "st_nlink", "st_size", "st_mtime", "st_ctime")}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._folder + path)]

    def readlink(self, path: str) -> str:
        return os.readlink(self._folder + path)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._folder + path, os.O_RDONLY)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        time.sleep(self._latency_s)
        return os.pread(fh, size, offset)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("mount", type=Path)
    parser.add_argument("--latency-ms", type=float, default=2.0)
    options = parser.parse_args()
    operations = SlowFolder(options.folder.resolve(), options.latency_ms / 1000)
    # As NFS does, keeps what is cached when a file is opened again, unless it has changed.
    fuse.FUSE(operations, str(options.mount), foreground=True, ro=True, auto_cache=True)


if __name__ == "__main__":
    main()
