"""Writes the files of one shard."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.base.files import fsync, locked, partial_path, written_aside
from ovocr.base.own_folder import OwnFolder, remove_folders
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.records import record_to_row
from ovocr.dataset.schemas import OCR, records_schema
from ovocr.dataset.statistics import FileDescription, ShardCounts, ShardStatistics
from ovocr.dataset.tables import RowWriter
from ovocr.dataset.text import text_to_row
from ovocr.recordio import RecordWriter

# Interval at which a writer looks whether another process has taken its shard over.
_CHECK_S = 5.0


class OwnShard:
    """A shard whose files are written in a folder of this process until all are complete: ``ovocr.base.own_folder``.

    data_set: has the files while they are written, under the same number. Statistics that it has belong to the new
    files, so whether the shard is finished is to be looked up in the data set that is written, and only once the
    writer has its folder.
    """

    def __init__(self, data_set: LabelledDataSet, number: int, folder: OwnFolder) -> None:
        self._target = data_set
        self._number = number
        self._folder = folder
        self.data_set = LabelledDataSet(folder.path)
        self.check = folder.check
        self.errors = folder.errors
        self.explain = folder.explain

    def place(self, *, with_text: bool) -> None:
        """Gives the complete files and the statistics their final names, the statistics last. Raises OSError."""
        own, final = (each.data_files(self._number, with_text=with_text) for each in (self.data_set, self._target))
        stats = self._target.stats_path(self._number)
        for path in (*final.values(), stats):
            if not path.parent.is_dir():
                path.parent.mkdir(exist_ok=True)
                fsync(self._target.root)
        self._folder.claim()
        self._folder.make_room(stats)
        # If the process is killed between two renames, the new .rec must not be paired with an old .idx.
        self._folder.make_room(final["idx"])
        for name, path in final.items():
            self._folder.place(own[name], path)
        for folder in dict.fromkeys(path.parent for path in final.values()):
            fsync(folder)
        self._folder.place(self.data_set.stats_path(self._number), stats)
        fsync(stats.parent)


@contextmanager
def own_shard(data_set: LabelledDataSet, number: int) -> Iterator[OwnShard]:
    """Yields a shard of this process, and removes its folder afterwards.

    Raises OvocrError if another process holds the shard's lock, or takes the shard over without it.
    """
    what = f"{data_set}: shard {number}"
    busy = f"{what} is being written by another process; wait for it, or divide the shards with --shard-slice"
    own_folder = OwnFolder(data_set.root, data_set.making_prefix(number), what)
    with locked(data_set.lock_path(number), busy), own_folder as folder:
        _remove_partial_files(data_set, number)
        with folder.errors():
            device = os.stat(folder.path).st_dev
        for path in (*data_set.data_files(number, with_text=True).values(), data_set.stats_path(number)):
            if path.parent.is_dir() and os.stat(path.parent).st_dev != device:
                raise folder.other_file_system(path.parent)
        yield OwnShard(data_set, number, folder)


class ShardWriter:
    """Writes the images of a shard in the order in which they are added. A context manager.

    The files get their final names on exit, or none of them after an error. The statistics are written last and mark
    the shard as finished; they contain the size and hash of each file. Raises OvocrError if another process writes the
    shard, or takes it over.

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
        self._next_check = self._start + _CHECK_S
        self._own = ExitStack()
        self._files = ExitStack()
        self._left = False
        self.counts = ShardCounts(ignored=ignored)

    def __enter__(self) -> "ShardWriter":
        with self._own, self._files:
            self._shard = self._own.enter_context(own_shard(self._data_set, self._number))
            with self._shard.errors():
                self._open_files(self._shard.data_set)
            self._files = self._files.pop_all()
            self._own = self._own.pop_all()
        return self

    def _open_files(self, data_set: LabelledDataSet) -> None:
        self._rec = self._files.enter_context(RecordWriter(data_set.rec_prefix(self._number)))
        if self._with_text:
            self._texts = self._open_rows(data_set.ocr_path(self._number), OCR)
        self._records = self._open_rows(data_set.records_path(self._number), records_schema(self._with_text))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._own, self._shard.errors():
            self._files.__exit__(kind, error, trace)
            if isinstance(error, OSError):
                self._shard.explain(error)
            if error is None and not self._left:
                self._statistics().write(self._shard.data_set.stats_path(self._number))
                self._shard.place(with_text=self._with_text)

    @property
    def is_finished(self) -> bool:
        """True if the shard is finished already: another process may have finished it before this one took it."""
        return self._data_set.stats_path(self._number).exists()

    def leave(self) -> None:
        """Leaves the shard as it is: nothing of what was added is kept."""
        self._left = True

    def _open_rows(self, path: Path, schema: pa.Schema) -> RowWriter:
        return self._files.enter_context(RowWriter(self._files.enter_context(written_aside(path)), schema))

    def add(self, key: str, outcome: Outcome) -> None:
        """Writes the next image. Raises OvocrError if another process has taken the shard over."""
        if (now := time.monotonic()) >= self._next_check:
            self._shard.check()
            self._next_check = now + _CHECK_S
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
        files = self._shard.data_set.data_files(self._number, with_text=self._with_text)
        return ShardStatistics(
            entry=self._entry,
            counts=self.counts,
            has_text=self._with_text,
            seconds=round(time.monotonic() - self._start, 3),
            files={name: FileDescription.of(path) for name, path in files.items()},
            generation=self._generation,
        )


def remove_leftovers(data_set: LabelledDataSet, number: int) -> None:
    """Removes what killed writers of a shard left, and fences those that live. Hold the shard's lock.

    The files of a finished shard stay. Raises OSError.
    """
    remove_folders(data_set.root, data_set.making_prefix(number))
    _remove_partial_files(data_set, number)


def _remove_partial_files(data_set: LabelledDataSet, number: int) -> None:
    """Removes the files of a killed run of an earlier version, which wrote next to the final files."""
    for path in (*data_set.data_files(number, with_text=True).values(), data_set.stats_path(number)):
        partial_path(path).unlink(missing_ok=True)


def remove_all_leftovers(data_set: LabelledDataSet) -> None:
    """Removes what killed writers left of any shard, except shards that another process is writing. Raises OSError."""
    for number in sorted({number for number, _ in data_set.making_folders()}):
        with suppress(OvocrError), locked(data_set.lock_path(number), ""):
            remove_leftovers(data_set, number)
