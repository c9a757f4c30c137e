"""What every worker process does first. Imports nothing heavy, so that thread limits are set before numpy loads."""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def begin_worker() -> None:
    """One thread for each library, no Ctrl-C (which goes to the whole process group), an end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in _THREAD_LIMITS:
        os.environ[name] = "1"


def _end_with_parent() -> None:
    """A parent that is killed closes its pipes too, but a worker in the middle of its work would not see it."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
