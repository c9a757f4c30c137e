"""Calls in several threads: results in order, a bounded number at once, and an early end."""

import threading
from collections.abc import Iterator

import pytest

from ovocr.base.parallel_reads import in_parallel


def test_results_are_in_order_and_few_are_read_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    for place, result in enumerate(in_parallel(lambda number: number * number, items(), at_once=3)):
        assert result == place * place
        assert len(taken) <= place + 3
    assert place == 19


def test_an_error_comes_at_its_place() -> None:
    results = in_parallel(lambda number: 6 // (3 - number), range(10), at_once=2)
    assert [next(results), next(results), next(results)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("wait", [True, False])
def test_an_early_end_waits_on_request(wait: bool) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def read(number: int) -> None:
        if number:
            begun.set()
            may_end.wait(60)
            ended.set()

    results = in_parallel(read, range(2), at_once=2, wait=wait)
    next(results)
    assert begun.wait(60)
    closing = threading.Thread(target=results.close)
    closing.start()
    if not wait:
        closing.join(60)
        assert not closing.is_alive()
        assert not ended.is_set()
    may_end.set()
    closing.join(60)
    assert ended.is_set() if wait else ended.wait(60)
