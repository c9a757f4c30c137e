"""Distinguishes damaged samples, which a run skips, from other errors, and names those of an evaluation."""

import sys

from ovocr.base.escape import for_terminal
from ovocr.recordio import RecordError
from ovocr.trainer.data.images import DecodeError
from ovocr.trainer.data.samples import Sample, Samples

_MAX_NAMED = 10


class DamageReport:
    """Names the damaged samples of evaluations on stderr: each once, and at most ten.

    label: name of the data, for messages.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._named: set[str] = set()

    def add(self, reason: str) -> None:
        """Prints a damaged sample. reason: its name and damage."""
        if reason not in self._named and len(self._named) < _MAX_NAMED:
            print(f"ovocr: {self._label}: skipped: {for_terminal(reason)}", file=sys.stderr, flush=True)
            self._named.add(reason)


def load_unless_damaged(samples: Samples, index: int, position: int | None = None) -> Sample | str:
    """Returns the sample, or a message that names a damaged sample and its damage.

    Raises OvocrError for errors that are not damage, such as a file that cannot be opened: they may be temporary.
    """
    try:
        return samples.load(index, position)
    except (DecodeError, RecordError) as error:
        if isinstance(error.__cause__, OSError):
            raise
        return str(error)
