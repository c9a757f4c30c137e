"""Samples that are damaged: replaced by others, counted, and named in the run's folder."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal

# Lines on stderr of each rank; the file has them all.
_SHOWN = 10
# So many may be damaged in a run of any length.
_ALWAYS_ALLOWED = 10


class SkippedSamples:
    """Names what a rank has skipped. path: JSON lines, which all ranks append to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown = 0

    def add(self, step: int, head: str, reasons: Sequence[str]) -> None:
        """Write a line for each sample of a head's pass that was replaced; reasons: which it was, and what is wrong."""
        if not reasons:
            return
        lines = [json.dumps({"step": step, "head": head, "sample": reason}, ensure_ascii=False) for reason in reasons]
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(f"{line}\n" for line in lines))  # in one piece: other ranks write too
        shown = reasons[: max(0, _SHOWN - self._shown)]
        for reason in shown:
            print(f"ovocr: step {step}, head {head}: skipped: {for_terminal(reason)}", file=sys.stderr, flush=True)
        self._shown += len(shown)


class SkipLimit:
    """Ends a run whose data are damaged beyond some samples. share: of the samples since its start that may be."""

    def __init__(self, share: float, path: Path) -> None:
        self._share, self._path = share, path
        self._skipped = self._samples = 0

    def add(self, skipped: int, samples: int) -> None:
        """Of a step's samples, on all ranks, so many were skipped. Raises OvocrError where it is too much."""
        self._skipped += skipped
        self._samples += samples
        if self._skipped > max(_ALWAYS_ALLOWED, self._share * self._samples):
            raise OvocrError(
                f"{self._skipped} of {self._samples} samples are damaged, see {self._path}; make their shards again, "
                "or allow more with loader.max_skipped"
            )
