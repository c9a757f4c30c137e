"""The main loop of a worker process."""

from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.processes.memory import resident_memory
from ovocr.processes.worker_setup import set_up_worker

READY, FAILED = "ready", "failed"
# Added to the process's oom_score_adj, at most 1000: Linux kills the highest score if memory runs out (proc(5)).
OOM_SCORE = 300


def serve(connection: Connection) -> None:
    """Receives a factory, calls it, then answers each message with the result of the function that the factory made.

    Every answer is a pair: the answer itself, and the bytes of memory that the process uses. The first one is
    (READY, "") or, for an OvocrError of the factory, (FAILED, message). Any other exception ends the process with a
    traceback. The process also ends when its parent does.
    """
    set_up_worker()
    _prefer_oom_kill()
    try:
        try:
            handle = connection.recv()()
        except OvocrError as error:
            connection.send(((FAILED, str(error)), resident_memory()))
            return
        connection.send(((READY, ""), resident_memory()))
        while True:
            answer = handle(connection.recv())
            connection.send((answer, resident_memory()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent closed its end


def _prefer_oom_kill() -> None:
    """Makes the kernel kill this worker, which can be replaced, rather than the parent if memory runs out."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):  # not on Linux, or not permitted
        score.write_text(str(min(1000, int(score.read_text()) + OOM_SCORE)))
