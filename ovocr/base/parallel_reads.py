"""Reads ahead of a consumer in several threads, because a request to an object store takes tens of milliseconds."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_PARALLEL_REQUESTS = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    read: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    at_once: int = _PARALLEL_REQUESTS,
    wait: bool = False,
) -> Iterator[Result]:
    """Yields the result of ``read`` for each item, in order. Calls it in several threads, ahead of the consumer.

    at_once: number of threads, and of items that are read ahead. wait: whether the end, also an early one, waits for
    calls that have begun, such as those that remove temporary files.

    Raises what ``read`` raises, at the item's place in the order.
    """
    waiting: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(at_once, thread_name_prefix="ovocr-fetch")
    try:
        for item in items:
            waiting.append(executor.submit(read, item))
            if len(waiting) == at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=wait, cancel_futures=True)
