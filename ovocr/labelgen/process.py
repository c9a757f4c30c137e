"""The main loop of a worker process. Imports nothing heavy, so that thread limits are set before numpy loads."""

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

from ovocr.errors import OvocrError

READY, FAILED = "ready", "failed"

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def serve(connection: Connection) -> None:
    """Receive a factory, call it, then answer each message with what the factory's product makes of it, until the end.

    Sends (READY, "") or, for an OvocrError of the factory, (FAILED, message); then one answer a message. Any other
    exception ends the process with a traceback. The process also ends when its parent does.
    """
    # Ctrl-C goes to the whole process group: the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in _THREAD_LIMITS:
        os.environ[name] = "1"
    try:
        try:
            handle = connection.recv()()
        except OvocrError as error:
            connection.send((FAILED, str(error)))
            return
        connection.send((READY, ""))
        while True:
            connection.send(handle(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent closed its end


def _end_with_parent() -> None:
    """A parent that is killed closes the connection too, but a worker in the middle of an image would not see it."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
