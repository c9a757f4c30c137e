"""Parsing of amounts of memory."""

import pytest

from ovocr.base.errors import UsageError
from ovocr.base.memory_size import format_size, parse_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("500 mb", 500 * 10**6),
        ("1.5GiB", 3 * 2**29),
        ("4g", 4 * 10**9),
        ("1T", 10**12),
        ("64KiB", 65536),
        ("100000", 100_000),
    ],
)
def test_parses_amounts_with_units(text: str, size: int) -> None:
    assert parse_memory(text, option="--memory", least=1000) == size


@pytest.mark.parametrize("text", ["", "much", "-2GB", "2 apples", "GB", "1e9", "٢GB", "2GB; SET x = 1"])
def test_refuses_text_that_is_not_an_amount(text: str) -> None:
    with pytest.raises(UsageError, match="^--memory .*: an amount such as 500MB, 2GB or 4GiB is needed$"):
        parse_memory(text, option="--memory", least=1)


def test_refuses_amounts_below_the_least() -> None:
    assert parse_memory("100MB", option="--memory", least=10**8) == 10**8
    with pytest.raises(UsageError, match="^--memory 99MB: at least 100MB is needed$"):
        parse_memory("99MB", option="--memory", least=10**8)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.00 MB"), (345_678, "0.35 MB"), (10**9 - 1, "1000.00 MB"), (2_042 * 10**9, "2,042.00 GB")]
)
def test_size_is_formatted_in_decimal_units(size: int, text: str) -> None:
    assert format_size(size) == text
