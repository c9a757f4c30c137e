"""Ctrl-C, SIGTERM and SIGHUP as a request that is met between two steps, where there is something whole to save."""

import os
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
    """signalled: whether a signal has come; signalled_at: when, on the monotonic clock.

    launcher: the process that torchrun is in; without it nobody would end this rank. None: it is not needed.
    """

    signalled: bool = False
    signalled_at: float = 0.0
    launcher: int | None = None

    @property
    def asked(self) -> bool:
        """Whether to stop behind the step in work."""
        return self.signalled or (self.launcher is not None and os.getppid() != self.launcher)


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Note SIGINT, SIGTERM and SIGHUP instead of dying of them; a later one ends the process as it always does.

    One that comes within two seconds is the same request: a terminal's Ctrl-C reaches a rank and its launcher, which
    passes it on.

    Only the main thread can have that; in another one nothing is changed.
    """
    # torchrun, which sets this, starts each rank itself.
    requests = StopRequests(launcher=os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None)
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in handled}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}  # such as by nohup

    def note(number: int, frame: FrameType | None) -> None:
        if not requests.signalled:
            requests.signalled, requests.signalled_at = True, time.monotonic()
        elif time.monotonic() - requests.signalled_at > _SAME_REQUEST_S:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
