"""Reads and writes rows of a shard's records: the outcome of each input image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.escape import as_text
from ovocr.dataset.outcome import Outcome, Place, Status, distinct_ids
from ovocr.dataset.record_columns import distinct_tags
from ovocr.dataset.schemas import RECORDS, records_schema
from ovocr.dataset.statistics import STATUSES, ShardCounts
from ovocr.dataset.tables import open_table, read_batches, read_rows

_SHOWN_CHARACTERS = 80
_WORD_COUNTS = ("words_found", "words_in_vocabulary")


@dataclass(frozen=True, kw_only=True)
class RecordRow:
    """The row of one image.

    position: index of the row, from 0. record_id: id of the image's record; None if it has no record.
    words_found, words_in_vocabulary: None in a packed data set. places: their boxes are not rounded.
    """

    position: int
    source: str
    key: str
    status: str
    reason: str | None
    detail: str | None
    record_id: int | None
    words_found: int | None
    words_in_vocabulary: int | None
    places: list[Place]

    @property
    def name(self) -> str:
        """The row's position and key, for messages."""
        return f"row {named(self.position, self.key)}"

    @property
    def tags(self) -> list[int]:
        """The image's tags: distinct class ids, in order of appearance."""
        return distinct_ids(self.places)

    @property
    def was_read(self) -> bool:
        """True if the image was read, so it has a row of text."""
        return self.status in (Status.OK, Status.DROPPED)


@dataclass(frozen=True)
class WordsRow:
    """The words of one image. class_ids: distinct class ids."""

    status: str
    words_found: int
    words_in_vocabulary: int
    class_ids: list[int]


def named(number: int, key: str) -> str:
    """Returns the number with the key in brackets; a long key is cut."""
    return f"{number} ({key if len(key) <= _SHOWN_CHARACTERS else key[: _SHOWN_CHARACTERS - 3] + '...'})"


def record_to_row(source: str, key: str, outcome: Outcome, record_id: int) -> dict[str, Any]:
    """Returns the row of an image. record_id: id of its record; ignored if the image is not ok."""
    return {
        "source": source,
        "key": key,
        "status": outcome.status.value,
        "reason": outcome.reason.value if outcome.reason is not None else None,
        "detail": as_text(outcome.detail) or None,
        "record_id": record_id if outcome.status is Status.OK else None,
        "words_found": outcome.words_found,
        "words_in_vocabulary": outcome.words_in_vocabulary,
        "tags": [{"id": place.id, "line": place.line, "box": place.box} for place in outcome.places],
    }


def parse_records(rows: pa.RecordBatch | pa.Table, positions: Sequence[int]) -> Iterator[RecordRow]:
    """Yields the rows, whose nulls have been checked. positions: positions of the rows."""
    for position, row in zip(positions, rows.to_pylist(), strict=True):
        places = [Place(tag["id"], tag.get("line"), tuple(tag["box"]) if "box" in tag else None) for tag in row["tags"]]
        yield RecordRow(
            position=position,
            **{name: row[name] for name in ("source", "key", "status", "reason", "detail", "record_id")},
            **{name: row.get(name) for name in _WORD_COUNTS},
            places=places,
        )


def read_records(path: Path, positions: Sequence[int], *, with_text: bool) -> list[RecordRow]:
    """Returns the rows at the ascending ``positions``; reads only their row groups. Raises TableError."""
    return list(parse_records(read_rows(path, records_schema(with_text), positions), positions))


def find_records(path: Path, key: str, *, with_text: bool) -> list[RecordRow]:
    """Returns the rows with this key; reads all columns only of row groups that contain it. Raises TableError."""
    positions: list[int] = []
    with open_table(path, records_schema(with_text)) as file:
        column = file.schema_arrow.get_field_index("key")
        start = 0
        groups = file.metadata
        for group in range(groups.num_row_groups):
            metadata = groups.row_group(group)
            limits = metadata.column(column).statistics
            if limits is None or not limits.has_min_max or limits.min <= key <= limits.max:
                keys = file.read_row_group(group, columns=["key"]).column("key")
                positions += [start + position for position in pc.indices_nonzero(pc.equal(keys, key)).to_pylist()]
            start += metadata.num_rows
    return read_records(path, positions, with_text=with_text) if positions else []


def read_words(path: Path) -> Iterator[WordsRow]:
    """Yields the words of each image of a labelled data set, in order. Raises TableError."""
    for batch in read_batches(path, RECORDS, ["status", *_WORD_COUNTS, "tags.list.element.id"]):
        tags = batch.column("tags")
        ids = tags.flatten().field("id").to_pylist()
        columns = (batch.column(name).to_pylist() for name in ("status", *_WORD_COUNTS))
        start = 0
        for status, found, known, count in zip(*columns, tags.value_lengths().to_pylist(), strict=True):
            yield WordsRow(status, found, known, list(dict.fromkeys(ids[start : start + count])))
            start += count


def count_records(counts: ShardCounts, batch: pa.RecordBatch) -> None:
    """Adds a batch of records to the counts; lines are not counted."""
    counts.input += batch.num_rows
    for item in pc.value_counts(batch.column("status")).to_pylist():
        name = item["values"]
        if name in STATUSES:
            setattr(counts, name, getattr(counts, name) + item["counts"])
    for item in pc.value_counts(batch.column("reason").drop_null()).to_pylist():
        counts.reasons[item["values"]] += item["counts"]
    for name in _WORD_COUNTS:
        if name in batch.schema.names:
            setattr(counts, name, getattr(counts, name) + _sum(batch.column(name)))
    counts.tags += len(distinct_tags(batch.column("tags"))[1])


def _sum(column: pa.Array) -> int:
    return pc.sum(column).as_py() or 0
