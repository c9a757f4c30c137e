"""Counts the requests to object stores that this process repeated."""

import threading


class _Counts:
    def __init__(self) -> None:
        self.connections = 0
        self.repeated = 0
        self.lock = threading.Lock()


_counts = _Counts()


def count_connection() -> None:
    """Counts that the process has connected to a store."""
    with _counts.lock:
        _counts.connections += 1


def count_repeated() -> None:
    """Counts a request, or an attempt of several requests, that is sent again."""
    with _counts.lock:
        _counts.repeated += 1


class StoreUse:
    """What this process asks of object stores from now on."""

    def __init__(self) -> None:
        self._connections, self._repeated = _counts.connections, _counts.repeated

    def repeated(self) -> int | None:
        """Returns the number of requests that were repeated; None if no store was used."""
        return _counts.repeated - self._repeated if _counts.connections > self._connections else None
