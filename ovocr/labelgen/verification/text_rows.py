"""The stored text of a shard, matched with the rows of its records."""

from collections import deque

from ovocr.dataset.records import RecordRow, named
from ovocr.dataset.text import StoredText, parse_texts
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.tables import StoredTable


class TextRows:
    """Returns the text of one image after the other; adds findings for images without text and texts without image."""

    def __init__(self, table: StoredTable, findings: Findings) -> None:
        self.path = table.path
        self._table = table
        self._findings = findings
        self._rows = (item for batch in table.batches() for item in parse_texts(batch))
        self._ahead: deque[tuple[str, StoredText]] = deque()
        self._place = 0  # of the first row that was not returned

    def find(self, row: RecordRow) -> StoredText | None:
        """Returns the text of the next image that was read; None if its row is missing."""
        self._look_ahead(2)
        keys = [key for key, _ in self._ahead]
        if row.key not in keys:
            found = named(self._place, keys[0]) if keys else "no more rows"
            if keys or self._table.sound:
                self._findings.add(self.path, f"row {self._place}", f"that of {row.name} of records", found)
            return None
        if keys[0] != row.key:
            self._skip()
        self._place += 1
        return self._ahead.popleft()[1]

    def check_end(self) -> None:
        """Adds findings for the remaining rows: no image has them."""
        while self._look_ahead(1):
            self._skip()

    def _skip(self) -> None:
        key, _ = self._ahead.popleft()
        self._findings.add(self.path, f"row {named(self._place, key)}", "that of an image of records", "of none")
        self._place += 1

    def _look_ahead(self, rows: int) -> bool:
        while len(self._ahead) < rows:
            item = next(self._rows, None)
            if item is None:
                break
            self._ahead.append(item)
        return bool(self._ahead)
