"""The main loop of a worker process."""

from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.processes.memory import resident_memory
from ovocr.processes.worker_setup import set_up_worker

READY, FAILED = "ready", "failed"
# Added to the score by which Linux chooses whom to kill when memory runs out, 1000 at most (proc(5), oom_score_adj).
OOM_SCORE = 300


def serve(connection: Connection) -> None:
    """Receive a factory, call it, then answer each message with what the factory's product makes of it, until the end.

    Every answer is a pair: the answer itself, and the bytes of memory that the process holds. The first one is
    (READY, "") or, for an OvocrError of the factory, (FAILED, message). Any other exception ends the process with a
    traceback. The process also ends when its parent does.
    """
    # The parent ends its workers itself; they have no Ctrl-C.
    set_up_worker()
    _offer_to_die_first()
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


def _offer_to_die_first() -> None:
    """Where memory runs out, the kernel is to kill a worker, which is replaced, and not the parent."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError, ValueError):  # another system, or one that does not allow it
        score.write_text(str(min(1000, int(score.read_text()) + OOM_SCORE)))
