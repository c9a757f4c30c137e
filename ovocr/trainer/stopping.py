"""Ctrl-C and SIGTERM as a request that is met between two steps, where there is something whole to save."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SAME_REQUEST_S = 2.0


@dataclass
class StopRequests:
    """asked: whether a signal has come; asked_at: when, on the monotonic clock."""

    asked: bool = False
    asked_at: float = 0.0


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Note SIGINT and SIGTERM instead of dying of them; a later one ends the process as it always does.

    One that comes within two seconds is the same request: a terminal's Ctrl-C reaches a rank and its launcher, which
    passes it on.

    Only the main thread can have that; in another one nothing is changed.
    """
    requests = StopRequests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        if not requests.asked:
            requests.asked, requests.asked_at = True, time.monotonic()
        elif time.monotonic() - requests.asked_at > _SAME_REQUEST_S:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
