"""Images of a data set by their key, found through the key columns of its records."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Status
from ovocr.dataset.schemas import OCR, PACKED_RECORDS, RECORDS
from ovocr.labelgen.shards.labelled_shard import StoredText, texts_of
from ovocr.labelgen.verification.folder_check import finished_shards
from ovocr.labelgen.verification.promises import Promises
from ovocr.labelgen.verification.tables import unexpected_null

# Looked through for keys that are spelled like the one that is not there.
_KEYS_COMPARED = 20_000
_KEYS_OF_THE_NAME = 1_000
_LONGEST_COMPARED = 300


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image's row of records. shard, row: where that is. text: what was read, None for one that was not."""

    shard: int
    row: int
    columns: dict[str, Any]
    text: StoredText | None


@dataclass(frozen=True)
class FoundImages:
    """Those with a key. left_out: a line for each table that could not be read, where there may be others."""

    images: list[FoundImage]
    left_out: list[str]


class _TextError(OvocrError):
    """An image has the key, and what was read in it cannot be had."""


def find_images(data_set: LabelledDataSet, key: str, promises: Promises) -> FoundImages:
    """All images of finished shards with this key, in the order of shards and rows. promises: of the manifest.

    Of the records' other columns, only the row groups with the key are read. Raises OvocrError where no image that can
    be read has the key, naming the tables that cannot be.
    """
    shards, with_text = finished_shards(data_set, len(promises.shards)), promises.with_text
    images: list[FoundImage] = []
    errors: dict[int, OvocrError] = {}
    for number in shards:
        try:
            images.extend(_find_in_shard(data_set, number, key, with_text))
        except OvocrError as error:
            errors[number] = error
    if images:
        return FoundImages(images, list(map(str, errors.values())))
    if of_the_image := next((error for error in errors.values() if isinstance(error, _TextError)), None):
        raise of_the_image
    close = ", ".join(_close_keys(data_set, [number for number in shards if number not in errors], key, with_text))
    hint = f"; close to it are: {close}" if close else "; a key is the path inside the source, ending included"
    where = "a shard that can be read" if errors else "a finished shard"
    left_out = "".join(f"; left out: {error}" for error in errors.values())
    raise OvocrError(f"{data_set.root}: no image of {where} has the key {key}{left_out}{hint}")


def _find_in_shard(data_set: LabelledDataSet, number: int, key: str, with_text: bool) -> Iterator[FoundImage]:
    with _opened(data_set.records_path(number), RECORDS if with_text else PACKED_RECORDS) as records:
        start = 0
        for group in range(records.num_row_groups):
            if _may_hold(records, group, key):
                keys = records.read_row_group(group, columns=["key"]).column("key")
                for place in pc.indices_nonzero(pc.equal(keys, key)).to_pylist():
                    row, columns = start + place, _row(records, group, place).to_pylist()[0]
                    text = None
                    if with_text and columns["status"] != Status.QUARANTINED:
                        text = _read_text(data_set.ocr_path(number), _read_before(records, row), key)
                    yield FoundImage(shard=number, row=row, columns=columns, text=text)
            start += records.metadata.row_group(group).num_rows


def _row(file: pq.ParquetFile, group: int, place: int) -> pa.RecordBatch:
    """One row of a row group. Raises ValueError where there is no value where every row has one."""
    table = file.read_row_group(group).slice(place, 1)
    batch = pa.RecordBatch.from_pylist(table.to_pylist(), table.schema)
    if name := unexpected_null(batch):
        raise ValueError(f"a null in column {name}")
    return batch


def _read_before(records: pq.ParquetFile, row: int) -> int:
    """How many images before a row were read: each has a row in the file of texts."""
    statuses = records.read(columns=["status"]).column("status").slice(0, row)
    return pc.sum(pc.not_equal(statuses, Status.QUARANTINED.value)).as_py() or 0


def _may_hold(records: pq.ParquetFile, group: int, key: str) -> bool:
    """By the smallest and largest key of the row group, where the file has them."""
    place = records.schema_arrow.get_field_index("key")
    statistics = records.metadata.row_group(group).column(place).statistics
    return statistics is None or not statistics.has_min_max or statistics.min <= key <= statistics.max


def _read_text(path: Path, row: int, key: str) -> StoredText:
    with _opened(path, OCR, _TextError) as texts:
        start = 0
        for group in range(texts.num_row_groups):
            rows = texts.metadata.row_group(group).num_rows
            if row < start + rows:
                found, text = next(texts_of(path, _row(texts, group, row - start)))
                if found == key:
                    return text
                break
            start += rows
    raise _TextError(f"{path}: row {row} is not of {key}; see `ovocr verify`")


@contextmanager
def _opened(path: Path, schema: pa.Schema, failure: type[OvocrError] = OvocrError) -> Iterator[pq.ParquetFile]:
    """Raises ``failure`` where the file has other columns, or what the block asks for cannot be read."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise ValueError("it is a folder, a device or a pipe")
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise ValueError("it has other columns than the data set's command writes")
            yield file
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise failure(f"{path}: cannot be read: {reason}; see `ovocr verify`") from error


def _close_keys(data_set: LabelledDataSet, shards: list[int], key: str, with_text: bool) -> list[str]:
    """Up to three: among those with the same file name, and among the first of the data set."""
    if len(key) > _LONGEST_COMPARED:
        return []
    name = key.rpartition("/")[2]
    named: list[str] = []
    first: list[str] = []
    for number in shards:
        # Row groups that cannot hold the key may be damaged: their keys are no more than a hint.
        with (
            suppress(OvocrError),
            _opened(data_set.records_path(number), RECORDS if with_text else PACKED_RECORDS) as records,
        ):
            for batch in records.iter_batches(columns=["key"]):
                keys = batch.column("key")
                of_the_name = keys.filter(pc.ends_with(keys, name)).to_pylist() if name else []
                named += islice(of_the_name, _KEYS_OF_THE_NAME - len(named))
                if len(first) < _KEYS_COMPARED:
                    first += islice(keys.to_pylist(), _KEYS_COMPARED - len(first))
    return _closest(key, [candidate for candidate in [*named, *first] if len(candidate) <= _LONGEST_COMPARED])


def _closest(key: str, candidates: list[str]) -> list[str]:
    """Up to three, whatever the case of their letters, whole or by their file names alone."""
    spelled = {candidate.casefold(): candidate for candidate in candidates}
    for candidate in candidates:
        spelled.setdefault(candidate.rpartition("/")[2].casefold(), candidate)
    close = get_close_matches(key.casefold(), spelled, 6)
    return list(dict.fromkeys(spelled[spelling] for spelling in close))[:3]
