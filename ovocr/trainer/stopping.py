"""Ctrl-C and SIGTERM as a request that is met between two steps, where there is something whole to save."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequests:
    """asked: whether a signal has come."""

    asked: bool = False


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one ends the process as it always does.

    Only the main thread can have that; in another one nothing is changed.
    """
    requests = StopRequests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        requests.asked = True
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
