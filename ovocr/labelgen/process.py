"""The main loop of a worker process."""

from multiprocessing.connection import Connection

from ovocr.errors import OvocrError
from ovocr.worker_process import begin_worker

READY, FAILED = "ready", "failed"


def serve(connection: Connection) -> None:
    """Receive a factory, call it, then answer each message with what the factory's product makes of it, until the end.

    Sends (READY, "") or, for an OvocrError of the factory, (FAILED, message); then one answer a message. Any other
    exception ends the process with a traceback. The process also ends when its parent does.
    """
    # The parent ends its workers itself; they have no Ctrl-C.
    begin_worker()
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
