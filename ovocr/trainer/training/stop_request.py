"""Turns SIGINT, SIGTERM and SIGHUP into a request to stop after the current step, when the run can be saved."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ovocr.base.errors import OvocrError

_SAME_REQUEST_S = 2.0  # signals within this time count as one request


class StoppedError(OvocrError):
    """The run was asked to stop. All steps so far are saved."""


@dataclass
class StopRequest:
    """Whether the run was asked to stop.

    signalled: whether a signal has arrived.
    signalled_at: its time on the monotonic clock.
    launcher: process id of torchrun, whose death is also a request to stop; None if there is no launcher.
    reason: a signal raises StoppedError with this text at once, instead of making a request; None to make one.
    """

    signalled: bool = False
    signalled_at: float = 0.0
    launcher: int | None = None
    reason: str | None = None

    @contextmanager
    def at_once(self, reason: str) -> Iterator[None]:
        """Raises StoppedError with this text at a signal in the block: for work that may be interrupted anywhere."""
        self.reason = reason
        try:
            yield
        finally:
            self.reason = None

    @property
    def requested(self) -> bool:
        """True if the run should stop after the current step."""
        return self.signalled or (self.launcher is not None and os.getppid() != self.launcher)


@contextmanager
def listen_for_stop_signals() -> Iterator[StopRequest]:
    """Records SIGINT, SIGTERM and SIGHUP; a later second signal ends the process as usual.

    Signals within two seconds count as one: Ctrl-C in a terminal reaches both a rank and its launcher, which forwards
    it.

    Has no effect outside the main thread, where signals cannot be handled.
    """
    # torchrun sets this variable and is the parent of each rank.
    request = StopRequest(launcher=os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in handled}
    # Signals that are ignored, as under nohup, stay ignored.
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def handle(number: int, frame: FrameType | None) -> None:
        if request.reason is not None:
            raise StoppedError(request.reason)
        if not request.signalled:
            request.signalled, request.signalled_at = True, time.monotonic()
        elif time.monotonic() - request.signalled_at > _SAME_REQUEST_S:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
