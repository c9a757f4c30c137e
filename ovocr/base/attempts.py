"""Tries actions in an object store several times, within a bounded time.

The store's client repeats single requests for about ten seconds (see s3_client for S3). What comes through is tried
again here, for every store: a whole file, upload or listing.
"""

import random
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ovocr.base.errors import StoreError
from ovocr.base.object_store import StoreLocation, describe_error, store_errors
from ovocr.base.plural import counted
from ovocr.base.request_count import count_repeated

Result = TypeVar("Result")

# Pauses between attempts. In each of them, the store's client has tried several times for about ten seconds.
_PAUSES_S = (1.0, 4.0, 16.0)
# No attempt begins later than this after the first one failed: of a store that answers nothing, each takes a minute.
_PATIENCE_S = 60.0
_REPORT_EVERY_S = 60.0
# Limit of an attempt, after which a store that keeps a connection open but sends nothing counts as failed, and the
# slowest transfer that gets more time: 2 Mbit/s.
_ATTEMPT_S = 60.0
_SLOW_BYTES_PER_S = 250_000

_reported: dict[str, float] = {}  # when a line was last printed, by bucket


def repeat(url: str, action: Callable[[], Result], failed: Callable[[], None] = lambda: None) -> Result:
    """Returns the result of an action in a store, which is tried again if the store fails.

    url: what messages name. failed: called after each attempt that failed.

    Raises StoreError, naming the URL, if the store fails after several attempts or refuses access. Other errors are
    raised at once, FileNotFoundError and FileExistsError among them.
    """
    start, first_failure = time.monotonic(), None
    for attempt, pause in enumerate((*_PAUSES_S, None), 1):
        try:
            with store_errors(url):
                return action()
        except StoreError as error:
            failed()
            cause = error.__cause__
            if cause is None or isinstance(cause, PermissionError):
                raise
            reason, now = describe_error(cause), time.monotonic()
            first_failure = first_failure or now
            if pause is None or now - first_failure >= _PATIENCE_S:
                raise StoreError(f"{url}: {reason} ({counted(attempt, 'attempt')} in {now - start:.0f} s)") from cause
        _report(url, reason)
        time.sleep(pause * random.uniform(0.5, 1.5))  # processes that failed together must not return together
        count_repeated()
    raise AssertionError("unreachable")


def ask(store: StoreLocation, method: str, *arguments: Any, size: int = 0, **options: Any) -> Any:
    """Calls a method of the store's file system, with a limit of time. size: bytes that are transferred, if known.

    Raises OSError if there is no answer in time, and what the method raises.
    """
    call, limit_s = getattr(store.system, method), _ATTEMPT_S + size / _SLOW_BYTES_PER_S
    if not store.system.async_impl:  # the others have no limit
        return call(*arguments, **options)
    from fsspec.exceptions import FSTimeoutError

    try:
        return call(*arguments, timeout=limit_s, **options)
    except FSTimeoutError as error:
        raise OSError(f"no answer within {round(limit_s, 1):g} s") from error


def _report(url: str, reason: str) -> None:
    """Prints a line, at most once a minute for each bucket."""
    bucket, now = "/".join(url.split("/")[:3]), time.monotonic()
    if now - _reported.get(bucket, -_REPORT_EVERY_S) >= _REPORT_EVERY_S:
        _reported[bucket] = now
        print(f"ovocr: {url}: {reason}; trying again", file=sys.stderr, flush=True)
