"""The files of one output shard."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from ovocr.base.files import locked, partial_path, write_text, written_aside
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.schemas import OCR, PACKED_RECORDS, RECORDS, RowWriter
from ovocr.dataset.shard_files import describe_file, shard_files
from ovocr.labelgen.shards.totals import ShardCounts
from ovocr.labelgen.sources import InputShard, as_text
from ovocr.recordio import RecordWriter


class ShardWriter:
    """Writes a shard's images in the order in which they are added; all files appear at the end, or none.

    The statistics come last: they say that the shard is finished, with size and hash of each of its files.
    with_text: whether the pictures are read; the shard then has a file of their lines, too.
    """

    def __init__(self, data_set: LabelledDataSet, number: int, shard: InputShard, *, with_text: bool = True) -> None:
        self._data_set = data_set
        self._number = number
        self._shard = shard
        self._with_text = with_text
        self._start = time.monotonic()
        self._lock = ExitStack()
        self._files = ExitStack()
        self.counts = ShardCounts(ignored=shard.ignored)

    def __enter__(self) -> "ShardWriter":
        busy = (
            f"{self._data_set}: shard {self._number} is being made by another process; "
            "wait for it, or share the shards out with --shard-slice"
        )
        with self._lock, self._files:
            self._lock.enter_context(locked(self._data_set.lock_path(self._number), busy))
            remove_leftovers(self._data_set, self._number)
            self._rec = self._files.enter_context(RecordWriter(self._data_set.rec_prefix(self._number)))
            if self._with_text:
                self._ocr = self._rows(self._data_set.ocr_path(self._number), OCR)
            schema = RECORDS if self._with_text else PACKED_RECORDS
            self._records = self._rows(self._data_set.records_path(self._number), schema)
            self._files = self._files.pop_all()
            self._lock = self._lock.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._files.__exit__(kind, error, trace)
            if error is None:
                write_text(self._data_set.stats_path(self._number), json.dumps(self._stats(), indent=2) + "\n")

    def _rows(self, path: Path, schema: pa.Schema) -> RowWriter:
        return self._files.enter_context(RowWriter(self._files.enter_context(written_aside(path)), schema))

    def add(self, key: str, outcome: Outcome) -> None:
        """Write what became of the next image."""
        self._records.append(_records_row(as_text(self._shard.source), key, outcome, self.counts.ok))
        if self._with_text and outcome.status is not Status.QUARANTINED:
            self._ocr.append(_ocr_row(key, outcome))
        if outcome.status is Status.OK:
            self._rec.write(self.counts.ok, np.asarray(outcome.slots, np.float32), outcome.jpeg)
        self.counts.add(outcome)

    def ignore(self) -> None:
        """Count something in the source that is no image."""
        self.counts.ignored += 1

    def _stats(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self._start, 3)
        counts = self.counts.to_json(with_text=self._with_text)
        return {**self._shard.to_json(), **counts, "seconds": seconds, "files": self._describe_files()}

    def _describe_files(self) -> dict[str, Any]:
        """Read back, so that the hashes are of what the file system gives and not of what was meant to be written."""
        paths = shard_files(self._data_set, self._number, with_text=self._with_text)
        return {name: describe_file(path) for name, path in paths.items()}


def remove_leftovers(data_set: LabelledDataSet, number: int) -> None:
    """Remove the statistics of a shard that is to be made again, and what a killed run was writing of it."""
    stats = data_set.stats_path(number)
    stats.unlink(missing_ok=True)
    for path in (stats, *shard_files(data_set, number, with_text=True).values()):
        partial_path(path).unlink(missing_ok=True)


def _records_row(source: str, key: str, outcome: Outcome, record_id: int) -> dict[str, Any]:
    return {
        "source": source,
        "key": key,
        "status": outcome.status.value,
        "reason": outcome.reason.value if outcome.reason is not None else None,
        "detail": as_text(outcome.detail) or None,
        "record_id": record_id if outcome.status is Status.OK else None,
        "words_found": outcome.words_found,
        "words_in_vocabulary": outcome.words_in_vocabulary,
        "tags": [{"id": tag.id, "line": tag.line, "box": tag.box} for tag in outcome.tags],
    }


def _ocr_row(key: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "key": key,
        "width": outcome.width,
        "height": outcome.height,
        "lines": [{"text": line.text, "score": line.score, "box": line.box} for line in outcome.lines],
    }
