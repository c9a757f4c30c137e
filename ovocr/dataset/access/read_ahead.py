"""Threads that do work before its result is needed."""

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from typing import Any

from ovocr.base.errors import OvocrError

_JOIN_S = 2.0


class ReadAhead:
    """Runs a function for each key, in threads that start with the first key. May be used before and after a fork.

    Keys and threads belong to one process; a forked process begins without any.

    run: called with a key. It may raise OvocrError, which is dropped: whoever needs the result then meets it again.
    threads: maximum number of threads.
    """

    def __init__(self, run: Callable[[Any], None], threads: int) -> None:
        self._run, self._most = run, threads
        self._work = _Work()

    def add(self, keys: Iterable[Hashable], *, urgent: bool = False) -> None:
        """Adds keys after all others; urgent ones come before those that are not. Returns at once."""
        if self._work.process != os.getpid():
            self._work = _Work()
        work = self._work
        with work.changed:
            for key in keys:
                work.add(key, urgent)
            for _ in range(min(self._most - len(work.threads), work.waiting())):
                # A daemon, because a loader process ends at any moment and must not wait for a fetch.
                thread = threading.Thread(target=self._run_all, args=(work,), name="ovocr-fetch", daemon=True)
                work.threads.append(thread)
                thread.start()
            work.changed.notify_all()

    def close(self) -> None:
        """Drops the keys and ends the threads. One that waits for a store ends after its current attempt."""
        work, self._work = self._work, _Work()
        if work.process != os.getpid():
            return
        with work.changed:
            work.is_closed = True
            work.changed.notify_all()
        for thread in work.threads:
            thread.join(_JOIN_S)

    def _run_all(self, work: "_Work") -> None:
        while True:
            with work.changed:
                work.changed.wait_for(lambda: work.is_closed or work.waiting())
                if work.is_closed:
                    return
                key = work.take()
            with suppress(OvocrError):
                self._run(key)


class _Work:
    """The keys and threads of a process. Used under ``changed``."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.changed = threading.Condition()
        self.threads: list[threading.Thread] = []
        self.is_closed = False
        self._queues: dict[bool, deque[Hashable]] = {True: deque(), False: deque()}  # by urgency
        self._known: dict[bool, set[Hashable]] = {True: set(), False: set()}

    def add(self, key: Hashable, urgent: bool) -> None:
        if key not in self._known[urgent]:
            self._known[urgent].add(key)
            self._queues[urgent].append(key)

    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    def take(self) -> Hashable:
        urgent = bool(self._queues[True])
        key = self._queues[urgent].popleft()
        self._known[urgent].discard(key)
        return key
