"""Parses and formats amounts of memory such as 2GB."""

import re

from ovocr.base.errors import UsageError

_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_memory(text: str, *, option: str, least: int) -> int:
    """Returns the bytes of ``2GB``, ``500 MB``, ``1.5GiB`` or a plain number.

    option: the option's name for messages. least: the smallest allowed amount, in bytes.

    Raises UsageError if the text is not an amount of memory or the amount is below ``least``.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{option} {text}: an amount such as 500MB, 2GB or 4GiB is needed")
    number, unit, binary = match.groups()
    size = int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.lower()])
    if size < least:
        raise UsageError(f"{option} {text}: at least {least / 1e6:,.0f}MB is needed")
    return size


def format_size(size: int) -> str:
    """Returns bytes as text in decimal units, such as 2.04 GB or 0.35 MB."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"
