"""Failures of a tracker: the first is reported at once, all are counted, and none ends the training run."""

import sys
from textwrap import shorten

from tqdm import tqdm

from ovocr.base.plural import counted

_LONGEST_REASON = 300  # characters


class Failures:
    """Failures of one tracker; methods may be called in several threads."""

    def __init__(self, tracker: str) -> None:
        self._tracker, self._count = tracker, 0

    def add(self, reason: str) -> None:
        """Counts a failure. Prints the first one to stderr."""
        self._count += 1
        if self._count == 1:
            self._print(f"{reason}; training goes on, and metrics.jsonl has all numbers")

    def report(self) -> None:
        """Prints the number of failures if there was more than the one that was printed."""
        if self._count > 1:
            self._print(f"failed {counted(self._count, 'time')}")

    def _print(self, text: str) -> None:
        tqdm.write(f"tracker {self._tracker}: {text}", file=sys.stderr)  # above a progress bar


def reason_of(error: Exception) -> str:
    """Returns the kind of an error and the beginning of its message, in one line."""
    return f"{type(error).__name__}: {shorten(str(error), _LONGEST_REASON)}".removesuffix(": ")
