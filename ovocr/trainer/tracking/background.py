"""Runs a tracker in a thread of its own, so that a slow or silent server does not delay training."""

import queue
import sys
import threading
from collections.abc import Callable, Mapping

from ovocr.trainer.tracking.failures import Failures, reason_of
from ovocr.trainer.tracking.tracker import Ending, Tracker

# Calls that may wait. With a call every 10 steps of a second, this is more than two hours.
_WAITING = 1000
# Seconds that the end of a run waits for calls that are not done: more than WANDB_FINISH_TIMEOUT.
_CLOSE_S = 90.0
# Seconds of waiting before it is printed that the run waits.
_SILENT_S = 3.0


class BackgroundTracker:
    """Passes calls to a tracker in a thread, in order; errors are counted, and no call raises one.

    waiting: calls that may wait; a call that finds as many is lost. close_s: seconds that ``close`` waits.
    """

    def __init__(self, name: str, tracker: Tracker, *, waiting: int = _WAITING, close_s: float = _CLOSE_S) -> None:
        self._name, self._tracker, self._failures, self._close_s = name, tracker, Failures(name), close_s
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(waiting)
        # A daemon: a call that never returns does not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Tracker``."""
        try:
            self._calls.put_nowait(lambda: self._tracker.log(step, values))
        except queue.Full:
            self._failures.add(f"does not answer, and {self._calls.maxsize:,} calls wait already")

    def close(self, ending: Ending) -> None:
        """Waits for all calls, but not longer than ``close_s``. See ``Tracker``."""
        done = threading.Event()
        threading.Thread(target=self._finish, args=(ending, done), daemon=True).start()
        if self._close_s > _SILENT_S and not done.wait(_SILENT_S):
            print(f"tracker {self._name}: waiting for it, {self._close_s:.0f} s at most", file=sys.stderr, flush=True)
        if not done.wait(self._close_s):
            self._failures.add(f"is not done after {self._close_s:.0f} s")
        self._failures.report()

    def _finish(self, ending: Ending, done: threading.Event) -> None:
        self._calls.put(lambda: self._tracker.close(ending))  # may wait for room
        self._calls.put(None)
        self._thread.join()
        done.set()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - a tracker may raise anything
                self._failures.add(reason_of(error))
