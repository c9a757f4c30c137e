"""Mounts a folder until standard input ends: python -m tests.faults.power_cut FOLDER MOUNT_POINT CACHE_S [LOG]"""

import contextlib
import os
import resource
import sys
import threading
from pathlib import Path

from tests.faults.power_cut.passthrough import Passthrough
from tests.faults.power_cut.recording import Recording
from tests.faults.power_cut.server import Server, mount, unmount

OPEN_FILES_S = 2.0  # how long open files are still served after the end


def main(folder: Path, mount_point: Path, cache_s: float, log: Path | None) -> None:
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.umask(0)  # the kernel applies that of the caller
    operations = Recording(folder, log) if log else Passthrough(folder)
    server = Server(mount(mount_point), operations, cache_s)
    serving = threading.Thread(target=server.serve, daemon=True)
    serving.start()
    print("mounted", flush=True)
    with contextlib.suppress(OSError):
        sys.stdin.read()  # ends when the test leaves the block, and when it dies
    unmount(mount_point)
    serving.join(OPEN_FILES_S)
    # Files that are still open keep the file system alive; without its server their operations fail.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]) if sys.argv[4:] else None)
