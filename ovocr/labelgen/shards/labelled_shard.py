"""What a labelled data set tells of a shard's images, read back."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.dataset.boxes import DECIMALS
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import SCORE_DECIMALS, Line
from ovocr.dataset.outcome import Outcome, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.schemas import OCR, RECORDS
from ovocr.labelgen.sources import InputShard

_BATCH_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class StoredText:
    """What was read in a picture. width, height: of the stored picture, in pixels."""

    width: int
    height: int
    lines: list[Line]


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One input image of a shard.

    place: among the images of its source, from 0. record_id: in the .rec, None for an image without a record.
    read: its text, or the outcome of an image that could not be read.
    """

    place: int
    key: str
    record_id: int | None
    read: StoredText | Outcome


def find_input(data_set: LabelledDataSet, manifest: dict[str, Any], number: int) -> InputShard:
    """What a finished shard was made from; ``manifest`` is the data set's. Raises OvocrError where it does not say."""
    stats = data_set.stats(number)
    try:
        entry = manifest["shards"][number]
        return InputShard(
            source=entry["source"],
            kind=entry["kind"],
            start=entry.get("start"),
            stop=entry.get("stop"),
            ignored=stats["ignored"],
            images=stats["input"],
            size=entry.get("size"),
            names_sha256=entry.get("names_sha256"),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise OvocrError(
            f"{data_set.manifest_path}: does not say what {data_set.stats_path(number)} counts; put both back"
        ) from error


def read_labelled_images(data_set: LabelledDataSet, number: int) -> Iterator[LabelledImage]:
    """The images of a finished shard in the order of their source; a few in memory.

    Raises OvocrError, naming the file, where a file of the shard cannot be read or does not fit the others.
    """
    texts = _read_texts(data_set.ocr_path(number))
    path = data_set.records_path(number)
    for place, row in enumerate(_read_rows(path)):
        if row["status"] == Status.QUARANTINED:
            read: StoredText | Outcome = _quarantine(path, row)
        else:
            text = next(texts, None)
            if text is None or text[0] != row["key"]:
                raise _misfit(data_set, number)
            read = text[1]
        yield LabelledImage(place=place, key=row["key"], record_id=row["record_id"], read=read)
    if next(texts, None) is not None:
        raise _misfit(data_set, number)


def _misfit(data_set: LabelledDataSet, number: int) -> OvocrError:
    return OvocrError(
        f"{data_set.ocr_path(number)}: does not list the images of {data_set.records_path(number)}; "
        "put both back as `ovocr build-labels` wrote them"
    )


def _quarantine(path: Path, row: dict[str, Any]) -> Outcome:
    try:
        return quarantined(Reason(row["reason"]), row["detail"] or "")
    except ValueError:
        raise OvocrError(
            f"{path}: {for_terminal(str(row['reason']))} is no reason that this version of ovocr knows; use the one "
            "that wrote it"
        ) from None


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    for batch in _read_batches(path, RECORDS, ["key", "status", "reason", "detail", "record_id"]):
        _check_no_nulls(path, batch.column("key"), batch.column("status"))
        yield from batch.to_pylist()


def _read_texts(path: Path) -> Iterator[tuple[str, StoredText]]:
    for batch in _read_batches(path, OCR, OCR.names):
        yield from texts_of(path, batch)


def texts_of(path: Path, batch: pa.RecordBatch) -> Iterator[tuple[str, StoredText]]:
    """Key and text of each row of the file ``path`` of pictures that were read.

    Raises OvocrError for a null, which no such file has.
    """
    _check_no_nulls(path, *batch.columns)
    keys, widths, heights = (batch.column(name).to_pylist() for name in ("key", "width", "height"))
    lines = batch.column("lines")
    all_lines = _read_lines(path, lines.flatten())
    start = 0
    for key, width, height, count in zip(keys, widths, heights, lines.value_lengths().to_pylist(), strict=True):
        yield key, StoredText(width=width, height=height, lines=all_lines[start : start + count])
        start += count


def _read_lines(path: Path, column: pa.StructArray) -> list[Line]:
    texts, scores, boxes = (column.field(name) for name in ("text", "score", "box"))
    corners = boxes.flatten()
    _check_no_nulls(path, column, texts, scores, boxes, corners)
    return [
        Line(text, score, tuple(box))
        for text, score, box in zip(
            texts.to_pylist(),
            _rounded(scores, SCORE_DECIMALS).tolist(),
            _rounded(corners, DECIMALS).reshape(-1, 8).tolist(),
            strict=True,
        )
    ]


def _rounded(column: pa.Array, decimals: int) -> npt.NDArray[np.float64]:
    """Written with fewer decimals than float32 holds, and rounded again, numbers are what they were before."""
    return np.round(column.to_numpy().astype(np.float64), decimals)


def _check_no_nulls(path: Path, *columns: pa.Array) -> None:
    if any(column.null_count for column in columns):
        raise OvocrError(f"{path}: has a null where `ovocr build-labels` writes none; put the file back")


def _read_batches(path: Path, schema: pa.Schema, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Raises OvocrError where a column is missing or of another type than in ``schema``, or the file is damaged."""
    try:
        with pq.ParquetFile(path) as table:
            for name in columns:
                if table.schema_arrow.field(name).type != schema.field(name).type:
                    raise KeyError(f"column {name} has another type than {schema.field(name).type}")
            yield from table.iter_batches(batch_size=_BATCH_ROWS, columns=columns)
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise OvocrError(f"{path}: cannot be read: {reason}; put the file back") from error
