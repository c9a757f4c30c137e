"""Output of a run in progress: metrics.jsonl, experiment trackers, and a progress bar or log lines."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovocr.base.files import fsync, write_text
from ovocr.base.plural import counted
from ovocr.trainer.tracking.tracker import Ending
from ovocr.trainer.tracking.trackers import Trackers
from ovocr.trainer.training.stop_request import StoppedError

_LONGEST_LINE = 2**24  # bytes


def sample_digest(sample_ids: Iterable[NDArray[np.int64]]) -> str:
    """Returns a short fingerprint of the samples of a step, in order, head after head."""
    return hashlib.blake2b(b"".join(ids.astype("<i8").tobytes() for ids in sample_ids), digest_size=8).hexdigest()


class MetricsLog:
    """Writes one record per step; only rank 0 has one. A context manager that closes its files and the trackers.

    When a run resumes, lines of steps after the checkpoint are dropped, because those steps run again.
    """

    def __init__(self, path: Path, *, start: int, steps: int, log_every: int, trackers: Trackers) -> None:
        keep_lines_before(path, start)
        self._path, self._file = path, path.open("a", encoding="utf-8")
        fsync(path.parent)
        self._log_every, self._steps, self._start = log_every, steps, start
        self._trackers = trackers
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(total=steps, initial=start, unit="step", disable=not self._terminal, desc="train")
        self._began = time.monotonic()
        self._images, self._seconds, self._illegible = 0, 0.0, 0  # since the last line shown
        self._mfu_seconds = 0.0  # the sum of MFU x seconds

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
        self._file.close()
        self._trackers.close(_ending(error))

    def write(self, record: dict[str, Any], images: int, seconds: float) -> None:
        """Writes the record of a step: nested numbers, with ``step`` and ``loss``; seconds is the step's duration.

        The step is shown if it is due, the last one, or the first one after an extension.
        """
        self._images += images
        self._seconds += seconds
        self._illegible += record.get("illegible", 0)
        self._mfu_seconds += record.get("mfu", 0.0) * seconds
        self._file.write(_line(record))
        step = record["step"]
        self._bar.update()
        last = step + 1 == self._steps
        if step % self._log_every == 0 or last or "extended" in record:
            self._file.flush()
            self._show(record)
            self._trackers.log(step, _flat(record))

    def write_evaluation(self, done: int, entries: Mapping[str, Any], scalars: Mapping[str, float], text: str) -> None:
        """Adds the evaluation after ``done`` steps to the last line and to the trackers, and prints it.

        entries: what the line gets. scalars: curves of the trackers.
        """
        self._add_to_last_line(entries)
        tqdm.write(f"step {done}/{self._steps}: {text}", file=sys.stderr)
        self._trackers.log(done - 1, scalars)

    def _add_to_last_line(self, entries: Mapping[str, Any]) -> None:
        """Adds entries to the last line, or replaces them; a kill or a power cut leaves the old line or the new one."""
        self.flush()
        with self._path.open("rb") as file:
            tail_start = file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_LINE))
            tail = file.read()
        if not tail:
            return  # the user has removed the lines
        line_start = tail.rfind(b"\n", 0, -1) + 1
        change = {"start": tail_start + line_start, "line": {**json.loads(tail[line_start:]), **entries}}
        write_text(_change_path(self._path), json.dumps(change, allow_nan=False))
        finish_change(self._path)

    def flush(self) -> None:
        """Flushes all lines to disk; call before a checkpoint records their steps as done."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def _show(self, record: dict[str, Any]) -> None:
        text = f"loss {record['loss']:.3f}, {self._images / max(1e-9, self._seconds):.1f} images/s"
        if self._mfu_seconds:
            text += f", MFU {100 * self._mfu_seconds / self._seconds:.1f}%"
        if self._illegible:
            text += f", {counted(self._illegible, 'sample')} without a legible tag replaced"
        self._images, self._seconds, self._illegible, self._mfu_seconds = 0, 0.0, 0, 0.0
        if self._terminal:
            self._bar.set_postfix_str(text)
            return
        done = record["step"] + 1
        left = (time.monotonic() - self._began) / (done - self._start) * (self._steps - done)
        print(f"step {done}/{self._steps}: {text}, {left:.0f} s left", file=sys.stderr, flush=True)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _change_path(path: Path) -> Path:
    """Returns the file that describes a change of the last line: JSON, the offset of the line and its record."""
    return path.with_name(f"{path.name}.change")


def finish_change(path: Path) -> None:
    """Replaces the last line of a file of JSON lines as the file of its change says, if there is one."""
    if not _change_path(path).exists():
        return
    change = json.loads(_change_path(path).read_text(encoding="utf-8"))
    if path.exists():
        with path.open("r+b", buffering=0) as file:
            file.seek(change["start"])
            file.write(_line(change["line"]).encode())
            file.truncate()  # without this, the rest of a longer line would be a partial line, which is dropped
            os.fsync(file.fileno())
    _change_path(path).unlink()
    fsync(path.parent)  # the change must not be repeated when there are more lines


def keep_lines_before(path: Path, start: int) -> None:
    """Removes the lines of steps from ``start`` on from a file of JSON lines, if it exists."""
    finish_change(path)
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a kill or a power cut can leave a partial line
        if record["step"] < start:
            kept.append(line + "\n")
    write_text(path, "".join(kept))


def _ending(error: BaseException | None) -> Ending:
    if error is None:
        return Ending.FINISHED
    return Ending.STOPPED if isinstance(error, StoppedError | KeyboardInterrupt) else Ending.FAILED


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Returns the numbers of a nested record by names joined with slashes."""
    flat: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            flat[prefix + name] = float(value)
    return flat
