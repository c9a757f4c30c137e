"""Reads ahead of a consumer in several threads, because a request to an object store takes tens of milliseconds."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_PARALLEL_REQUESTS = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields the result of ``read`` for each item, in order. Calls it in several threads, ahead of the consumer."""
    waiting: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(_PARALLEL_REQUESTS, thread_name_prefix="ovocr-fetch")
    try:
        for item in items:
            waiting.append(executor.submit(read, item))
            if len(waiting) == _PARALLEL_REQUESTS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
