"""The rows of a shard, each with its text where it was read."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ovocr.dataset.outcome import Status, Tag
from ovocr.labelgen.shards.labelled_shard import StoredText, texts_of
from ovocr.labelgen.verification.finding import Findings, named
from ovocr.labelgen.verification.tables import StoredTable


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of an image, as it stands in records. place: of the row, from 0.

    words_found, words_in_vocabulary: None where pictures are not read.
    """

    place: int
    source: str
    key: str
    status: str
    reason: str | None
    record_id: int | None
    words_found: int | None
    words_in_vocabulary: int | None
    tags: list[Tag]

    @property
    def name(self) -> str:
        """What findings call it."""
        return f"row {named(self.place, self.key)}"


def read_rows(table: StoredTable) -> Iterator[Row]:
    """The rows of records, in order."""
    place = 0
    for batch in table.batches():
        for row in batch.to_pylist():
            yield _row(place, row)
            place += 1


def _row(place: int, row: dict[str, Any]) -> Row:
    return Row(
        place=place,
        **{name: row[name] for name in ("source", "key", "status", "reason", "record_id")},
        words_found=row.get("words_found"),
        words_in_vocabulary=row.get("words_in_vocabulary"),
        tags=[Tag(tag["id"], tag.get("line"), tuple(tag["box"]) if "box" in tag else None) for tag in row["tags"]],
    )


class StoredTexts:
    """What was read, handed out image by image; an image without its row, or a row without its image, is noted."""

    def __init__(self, table: StoredTable, findings: Findings) -> None:
        self._table = table
        self._findings = findings
        self._rows = (item for batch in table.batches() for item in texts_of(table.path, batch))
        self._ahead: deque[tuple[str, StoredText]] = deque()
        self._place = 0  # of the first row that was not handed out

    def of(self, row: Row) -> StoredText | None:
        """The text of the next image that was read; None where its row is not there."""
        self._look_ahead(2)
        keys = [key for key, _ in self._ahead]
        if row.key not in keys:
            found = named(self._place, keys[0]) if keys else "no more rows"
            if keys or self._table.sound:
                self._findings.add(self._table.path, f"row {self._place}", f"that of {row.name} of records", found)
            return None
        if keys[0] != row.key:
            self._skip()
        self._place += 1
        return self._ahead.popleft()[1]

    def check_end(self) -> None:
        """Note rows that no image has."""
        while self._look_ahead(1):
            self._skip()

    def _skip(self) -> None:
        key, _ = self._ahead.popleft()
        self._findings.add(self._table.path, f"row {named(self._place, key)}", "that of an image of records", "of none")
        self._place += 1

    def _look_ahead(self, rows: int) -> bool:
        while len(self._ahead) < rows:
            item = next(self._rows, None)
            if item is None:
                break
            self._ahead.append(item)
        return bool(self._ahead)


def was_read(row: Row) -> bool:
    """Does the image have a row of text?"""
    return row.status in (Status.OK, Status.DROPPED)
