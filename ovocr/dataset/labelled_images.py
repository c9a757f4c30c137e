"""Reads the images of a finished shard: records and text together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import FORMAT
from ovocr.dataset.outcome import Outcome, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.schemas import RECORDS
from ovocr.dataset.tables import read_batches
from ovocr.dataset.text import StoredText, read_texts


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One input image of a shard.

    position: index among the images of its source, from 0.
    record_id: id of its record; None if it has no record.
    read: its text, or the outcome if it is quarantined.
    lines_given: False if a table of lines has no row for the image.
    """

    position: int
    key: str
    record_id: int | None
    read: StoredText | Outcome
    lines_given: bool = True


def read_labelled_images(data_set: LabelledDataSet, number: int, format: int = FORMAT) -> Iterator[LabelledImage]:
    """Yields the images of a finished shard in the order of the source; keeps a few in memory.

    format: format of the data set; the places of its tags are not read.
    Raises OvocrError, naming the file, if a file of the shard cannot be read or does not match the others.
    """
    texts = read_texts(data_set.ocr_path(number), format)
    path = data_set.records_path(number)
    for position, row in enumerate(_read_rows(path)):
        if row["status"] == Status.QUARANTINED:
            read: StoredText | Outcome = _quarantine(path, row)
        else:
            text = next(texts, None)
            if text is None or text[0] != row["key"]:
                raise text_mismatch(data_set, number)
            read = text[1]
        lines_given = row["reason"] != Reason.NO_LINES_GIVEN
        yield LabelledImage(
            position=position, key=row["key"], record_id=row["record_id"], read=read, lines_given=lines_given
        )
    if next(texts, None) is not None:
        raise text_mismatch(data_set, number)


def text_mismatch(data_set: LabelledDataSet, number: int) -> OvocrError:
    """Returns the error for a shard whose texts and records list different images."""
    return OvocrError(
        f"{data_set.ocr_path(number)}: does not list the images of {data_set.records_path(number)}; restore both files"
    )


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    for batch in read_batches(path, RECORDS, ["key", "status", "reason", "detail", "record_id"]):
        yield from batch.to_pylist()


def _quarantine(path: Path, row: dict[str, Any]) -> Outcome:
    try:
        return quarantined(Reason(row["reason"]), row["detail"] or "")
    except ValueError:
        raise OvocrError(
            f"{path}: unknown reason {for_terminal(str(row['reason']))}; use the version of ovocr that wrote the file"
        ) from None
