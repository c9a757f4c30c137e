"""tracking.json in the folder of a run: which runs of the trackers it is, and which steps they have."""

import json
import threading
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.files import write_text


class TrackingRecord:
    """The entries of tracking.json by tracker: ``run``, the id of its run, and ``last``, the last step of each series.

    Trackers in several threads may share a record.
    """

    def __init__(self, path: Path, *, is_new: bool) -> None:
        """Reads the file. Raises OvocrError if it cannot be read.

        is_new: whether the training run starts from its first step. It is then a new run for the trackers, too.
        """
        self._path, self._lock = path, threading.Lock()
        self._entries: dict[str, dict[str, Any]] = {}
        if is_new:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._entries = _read(path)

    def run_id(self, tracker: str) -> str | None:
        """Returns the id of the tracker's run; None if it has none yet."""
        return self._entries.get(tracker, {}).get("run")

    def last_step(self, tracker: str, series: str | None = None) -> int:
        """Returns the last recorded step of a series, or of all; -1 if there is none."""
        last: dict[str, int] = self._entries.get(tracker, {}).get("last", {})
        return max(last.values(), default=-1) if series is None else last.get(series, -1)

    def start_run(self, tracker: str, run_id: str) -> None:
        """Writes the id of a new run of a tracker."""
        with self._lock:
            self._entries[tracker] = {"run": run_id}
            self._write()

    def add_step(self, tracker: str, series: str, step: int) -> None:
        """Writes the last step of a series."""
        with self._lock:
            self._entries[tracker].setdefault("last", {})[series] = step
            self._write()

    def _write(self) -> None:
        write_text(self._path, json.dumps(self._entries, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict[str, dict[str, Any]]:
    advice = "remove it to continue as a new run in the trackers"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OvocrError(f"{path}: cannot be read: {error}; {advice}") from error
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        raise OvocrError(f"{path}: not the trackers' runs by name; {advice}")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("run"), str | None):
        return False
    last = entry.get("last", {})
    return isinstance(last, dict) and all(type(step) is int for step in last.values())
