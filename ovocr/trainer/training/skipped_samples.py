"""Damaged samples: their log, and the limit on their number."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.base.files import fsync
from ovocr.base.plural import counted

# Samples that each rank prints to stderr; the file lists them all.
_MAX_SHOWN = 10
# Number of damaged samples that is always allowed, even in a short run.
_ALWAYS_ALLOWED = 10


class SkippedSamples:
    """Logs the samples that a rank has skipped. path: JSON lines file, to which all ranks append."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown = 0
        self._is_flushed = True

    def add(self, step: int, head: str, reasons: Sequence[str]) -> None:
        """Writes a line for each sample replaced in a head's pass; reasons: each sample's name and damage."""
        if not reasons:
            return
        lines = [json.dumps({"step": step, "head": head, "sample": reason}, ensure_ascii=False) for reason in reasons]
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(f"{line}\n" for line in lines))  # one write, because other ranks also write
        self._is_flushed = False
        shown = reasons[: max(0, _MAX_SHOWN - self._shown)]
        for reason in shown:
            print(f"ovocr: step {step}, head {head}: skipped: {for_terminal(reason)}", file=sys.stderr, flush=True)
        self._shown += len(shown)

    def flush(self) -> None:
        """Flushes this rank's lines to disk; call before a checkpoint records their steps as done."""
        if not self._is_flushed:
            fsync(self._path)
            fsync(self._path.parent)
            self._is_flushed = True


class SkipLimit:
    """Ends a run with too many damaged samples. share: allowed share of the samples since the run's start."""

    def __init__(self, share: float, path: Path) -> None:
        self._share, self._path = share, path
        self._skipped = self._samples = 0

    def add(self, skipped: int, samples: int) -> None:
        """Adds the counts of a step over all ranks. Raises OvocrError if too many samples were skipped."""
        self._skipped += skipped
        self._samples += samples
        if self._skipped > max(_ALWAYS_ALLOWED, self._share * self._samples):
            raise OvocrError(
                f"{self._skipped:,} of {counted(self._samples, 'sample')} are damaged, see {self._path}; "
                "make their shards again, or raise loader.max_skipped"
            )
