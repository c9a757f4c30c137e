"""The first steps of every worker process. Imports nothing heavy: thread limits must be set before numpy loads."""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def set_up_worker() -> None:
    """Limits libraries to one thread, ignores Ctrl-C, restores SIGTERM and ends the process when the parent ends.

    Ctrl-C is sent to the whole process group; the parent handles it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in _THREAD_LIMITS:
        os.environ[name] = "1"


def _end_with_parent() -> None:
    """Waits for the parent to end. A busy worker would not notice the closed pipes of a killed parent."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
