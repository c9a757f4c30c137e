"""Writes the files of one shard."""

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from ovocr.base.files import fsync, locked, partial_path, written_aside
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.records import record_to_row
from ovocr.dataset.schemas import OCR, records_schema
from ovocr.dataset.statistics import FileDescription, ShardCounts, ShardStatistics
from ovocr.dataset.tables import RowWriter
from ovocr.dataset.text import text_to_row
from ovocr.recordio import RecordWriter


class ShardWriter:
    """Writes the images of a shard in the order in which they are added. A context manager.

    The files get their final names on exit, or none of them after an error. The statistics are written last and mark
    the shard as finished; they contain the size and hash of each file.

    entry: the input shard. ignored: number of files in the source that are not images.
    with_text: write the lines of the images. generation: index of the generation in ``Manifest.history``.
    """

    def __init__(
        self,
        data_set: LabelledDataSet,
        number: int,
        entry: ShardEntry,
        *,
        ignored: int = 0,
        with_text: bool = True,
        generation: int = 0,
    ) -> None:
        self._data_set = data_set
        self._number = number
        self._entry = entry
        self._with_text = with_text
        self._generation = generation
        self._start = time.monotonic()
        self._lock = ExitStack()
        self._files = ExitStack()
        self.counts = ShardCounts(ignored=ignored)

    def __enter__(self) -> "ShardWriter":
        busy = (
            f"{self._data_set}: shard {self._number} is being written by another process; "
            "wait for it, or divide the shards with --shard-slice"
        )
        with self._lock, self._files:
            self._lock.enter_context(locked(self._data_set.lock_path(self._number), busy))
            remove_leftovers(self._data_set, self._number)
            self._rec = self._files.enter_context(RecordWriter(self._data_set.rec_prefix(self._number)))
            if self._with_text:
                self._texts = self._open_rows(self._data_set.ocr_path(self._number), OCR)
            schema = records_schema(self._with_text)
            self._records = self._open_rows(self._data_set.records_path(self._number), schema)
            self._files = self._files.pop_all()
            self._lock = self._lock.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._files.__exit__(kind, error, trace)
            if error is None:
                self._statistics().write(self._data_set.stats_path(self._number))

    def _open_rows(self, path: Path, schema: pa.Schema) -> RowWriter:
        return self._files.enter_context(RowWriter(self._files.enter_context(written_aside(path)), schema))

    def add(self, key: str, outcome: Outcome) -> None:
        """Writes the next image."""
        self._records.append(record_to_row(self._entry.source, key, outcome, self.counts.ok))
        if self._with_text and outcome.status is not Status.QUARANTINED:
            self._texts.append(text_to_row(key, outcome))
        if outcome.status is Status.OK:
            self._rec.write(self.counts.ok, np.asarray(outcome.slots, np.float32), outcome.jpeg)
        self.counts.add(outcome)

    def ignore(self) -> None:
        """Counts an item of the source that is not an image."""
        self.counts.ignored += 1

    def _statistics(self) -> ShardStatistics:
        """Reads the files back, so the hashes cover what the file system returns."""
        files = self._data_set.data_files(self._number, with_text=self._with_text)
        return ShardStatistics(
            entry=self._entry,
            counts=self.counts,
            has_text=self._with_text,
            seconds=round(time.monotonic() - self._start, 3),
            files={name: FileDescription.of(path) for name, path in files.items()},
            generation=self._generation,
        )


def remove_leftovers(data_set: LabelledDataSet, number: int) -> None:
    """Removes the statistics of a shard before it is rewritten, and the partial files of a killed run."""
    stats = data_set.stats_path(number)
    if stats.exists():
        stats.unlink()
        fsync(stats.parent)  # after a power cut, old statistics must not describe new files
    for path in (stats, *data_set.data_files(number, with_text=True).values()):
        partial_path(path).unlink(missing_ok=True)
