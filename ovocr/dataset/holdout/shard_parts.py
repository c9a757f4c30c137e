"""Shards of the parts of a data set: the files of a whole shard, or the rows and records of some of its images."""

import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError
from ovocr.base.files import fsync, make_folder, written_aside
from ovocr.base.plural import counted
from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.labelled_images import text_mismatch
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest, ShardEntry
from ovocr.dataset.outcome import Status
from ovocr.dataset.records import count_records
from ovocr.dataset.schemas import OCR, records_schema
from ovocr.dataset.shard_writer import own_shard
from ovocr.dataset.statistics import FileDescription, ShardCounts, ShardStatistics, read_statistics
from ovocr.dataset.tables import BatchWriter, read_batches
from ovocr.dataset.text import count_lines
from ovocr.recordio import RecordReader, RecordWriter

_Mask = npt.NDArray[np.bool_]
# The file system has no hard links, does not link these files, or the target is on another one.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class ShardOfPart:
    """A shard of a part. data_set: the part. number: the shard's number in it."""

    data_set: LabelledDataSet
    number: int

    @property
    def is_finished(self) -> bool:
        """True if the shard has been written."""
        return os.path.lexists(self.data_set.stats_path(self.number))


@dataclass(frozen=True)
class WholeShard:
    """A finished shard of the data set that is divided.

    entry: its entry in the manifest. manifest: the data set's manifest without its shards, which would be sent to a
    process with each shard. statistics: those of the shard.
    """

    data_set: LabelledDataSet
    number: int
    entry: ShardEntry
    manifest: Manifest
    statistics: ShardStatistics

    @classmethod
    def all_of(cls, data_set: LabelledDataSet, manifest: Manifest) -> "list[WholeShard]":
        """Returns the shards of a data set and reads their statistics. Raises OvocrError unless all are finished."""
        without_shards = replace(manifest, shards=())
        shards = []
        for number in data_set.all_shards():
            entry = manifest.shards[number]
            statistics = read_statistics(
                data_set.stats_path(number),
                entry,
                has_text=manifest.has_text,
                generations=len(manifest.history),
            )
            shards.append(cls(data_set, number, entry, without_shards, statistics))
        return shards

    @property
    def counts(self) -> ShardCounts:
        """The counts of the statistics."""
        return self.statistics.counts

    @contextmanager
    def on_disk(self, names: Sequence[str]) -> Iterator["WholeShard"]:
        """Yields the shard with files on a disk, see ``shard_on_disk``. names: their names in the statistics."""
        with shard_on_disk(self.data_set, self.number, names) as data_set:
            yield replace(self, data_set=data_set)

    def place(self, part: ShardOfPart) -> bool:
        """Makes the whole shard a shard of a part, with hard links or else with copies; returns whether by links.

        The files of a data set are replaced, never changed, so that a link keeps its content. Files of a store are
        copied. Raises OSError.
        """
        has_text = self.manifest.has_text
        names = self.data_set.data_files(self.number, with_text=has_text)
        with own_shard(part.data_set, part.number) as own, own.errors():
            targets = own.data_set.data_files(part.number, with_text=has_text)
            pairs = [(names[name], targets[name]) for name in names]
            pairs.append((self.data_set.stats_path(self.number), own.data_set.stats_path(part.number)))
            if self.data_set.url is not None:
                for source, target in pairs:
                    _copy(source, target)
                linked = False
            else:
                linked = all([_link_or_copy(source, target) for source, target in pairs])
            own.place(with_text=has_text)
        return linked

    def write(self, part: ShardOfPart, kept: _Mask, *, ignored: int) -> None:
        """Writes some of the images as a shard of a part. Record ids count from 0 again; all else stays.

        kept: bool [images], at least one of which is True. ignored: number of files of the source that are not images,
        to count here. Raises OvocrError, naming the file, if the shard's files cannot be read or do not match.
        """
        start = time.monotonic()
        with own_shard(part.data_set, part.number) as own, own.errors():
            counts = self._write_files(own.data_set, part.number, kept, ignored)
            paths = own.data_set.data_files(part.number, with_text=self.manifest.has_text)
            described = {name: FileDescription.of(path) for name, path in paths.items()}
            seconds = round(time.monotonic() - start, 3)
            statistics = replace(self.statistics, counts=counts, seconds=seconds, files=described)
            statistics.write(own.data_set.stats_path(part.number))
            own.place(with_text=self.manifest.has_text)

    def _write_files(self, data_set: LabelledDataSet, number: int, kept: _Mask, ignored: int) -> ShardCounts:
        """Writes the data files of a shard of a part, and returns its counts."""
        has_text = self.manifest.has_text
        paths = data_set.data_files(number, with_text=has_text)
        counts = ShardCounts(ignored=ignored)
        with ExitStack() as files:
            rec = files.enter_context(RecordWriter(data_set.rec_prefix(number)))
            texts = _open(files, paths["ocr"], OCR) if has_text else None
            records = _open(files, paths["records"], records_schema(has_text))
            rows = self._write_rows(records, kept, counts)
            if texts is not None:
                counts.lines = self._write_texts(texts, rows)
            self._copy_records(rec, rows.record_ids)
        return counts

    def _write_rows(self, records: BatchWriter, kept: _Mask, counts: ShardCounts) -> "_Rows":
        """Writes the kept rows of the records, and counts them."""
        path = self.data_set.records_path(self.number)
        read_keys: list[pa.Array] = []
        read_kept: list[_Mask] = [np.zeros(0, bool)]
        record_ids: list[int] = []
        row = 0
        for batch in read_batches(path, records_schema(self.manifest.has_text)):
            mask = kept[row : row + batch.num_rows]
            row += batch.num_rows
            if len(mask) < batch.num_rows:
                break
            was_read = pc.not_equal(batch.column("status"), Status.QUARANTINED.value)
            read_keys.append(batch.column("key").filter(was_read))
            read_kept.append(mask[was_read.to_numpy(zero_copy_only=False)])
            rows = batch.filter(pa.array(mask))
            ids = rows.column("record_id")
            has_record = ids.is_valid().to_numpy(zero_copy_only=False)
            new_ids = pa.array(len(record_ids) + np.cumsum(has_record) - 1, ids.type, mask=~has_record)
            record_ids += ids.drop_null().to_pylist()
            count_records(counts, rows)
            records.append(rows.set_column(rows.schema.get_field_index("record_id"), "record_id", new_ids))
        if row != len(kept):
            raise OvocrError(f"{path}: has not {counted(len(kept), 'row')} any more; it must not change meanwhile")
        return _Rows(read_keys, np.concatenate(read_kept), record_ids)

    def _write_texts(self, texts: BatchWriter, rows: "_Rows") -> int:
        """Writes the text of the kept images, and returns the number of lines."""
        keys = pa.chunked_array(rows.read_keys, pa.string())
        lines = row = 0
        for batch in read_batches(self.data_set.ocr_path(self.number), OCR):
            own = keys.slice(row, batch.num_rows)
            if not own.equals(pa.chunked_array([batch.column("key")])):
                raise text_mismatch(self.data_set, self.number)
            mask = rows.read_kept[row : row + batch.num_rows]
            row += batch.num_rows
            kept = batch.filter(pa.array(mask))
            lines += count_lines(kept)
            texts.append(kept)
        if row != len(keys):
            raise text_mismatch(self.data_set, self.number)
        return lines

    def _copy_records(self, rec: RecordWriter, record_ids: list[int]) -> None:
        prefix = self.data_set.rec_prefix(self.number)
        with RecordReader(prefix) as reader:
            if not np.array_equal(reader.ids, np.arange(len(reader))):
                raise OvocrError(f"{prefix}.idx: record ids are not contiguous from 0; run `ovocr verify`")
            for number, old in enumerate(record_ids):
                if not 0 <= old < len(reader):
                    raise OvocrError(f"{prefix}.idx: does not contain record {old}; run `ovocr verify`")
                record = reader[old]
                rec.write(number, record.labels, record.image)


class _Rows(NamedTuple):
    """Rows of a shard's records. read_keys: keys of all images that were read. read_kept: which of them are kept.

    record_ids: ids of the kept records in the whole shard, in order.
    """

    read_keys: list[pa.Array]
    read_kept: _Mask
    record_ids: list[int]


def _open(files: ExitStack, path: Path, schema: pa.Schema) -> BatchWriter:
    return files.enter_context(BatchWriter(files.enter_context(written_aside(path)), schema))


def _link_or_copy(source: Path, target: Path) -> bool:
    """Makes a hard link to a file, or a copy if there cannot be one; returns whether it is a link."""
    make_folder(target.parent)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)  # a link to a symbolic link would depend on the other file
        fsync(target.parent)
        return True
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    _copy(source, target)
    return False


def _copy(source: Path, target: Path) -> None:
    with written_aside(target) as partial:
        shutil.copyfile(source, partial)
