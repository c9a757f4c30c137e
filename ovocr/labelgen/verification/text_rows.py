"""The stored text of a shard, matched with the rows of its records."""

from collections import deque

from ovocr.dataset.records import RecordRow, named
from ovocr.dataset.text import StoredText, parse_texts
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.tables import StoredTable


class TextRows:
    """Returns the texts of images in order. Adds findings for missing and for extra rows."""

    def __init__(self, table: StoredTable, findings: Findings) -> None:
        self.path = table.path
        self._table = table
        self._findings = findings
        self._rows = (item for batch in table.batches() for item in parse_texts(batch))
        self._ahead: deque[tuple[str, StoredText]] = deque()
        self._row = 0  # number of the next row

    def find(self, row: RecordRow) -> StoredText | None:
        """Returns the text of the next image that was read; adds a finding and returns None if its row is missing."""
        self._look_ahead(2)
        keys = [key for key, _ in self._ahead]
        if row.key not in keys:
            found = f"row {named(self._row, keys[0])}" if keys else "no more rows"
            if keys or self._table.valid:
                self._findings.add(self.path, f"row {self._row}", f"the text of {row.name} of records", found)
            return None
        if keys[0] != row.key:
            self._skip()
        self._row += 1
        return self._ahead.popleft()[1]

    def check_end(self) -> None:
        """Adds a finding for each remaining row; no image has it."""
        while self._look_ahead(1):
            self._skip()

    def _skip(self) -> None:
        key, _ = self._ahead.popleft()
        self._findings.add(self.path, f"row {named(self._row, key)}", "the text of an image in records", "an extra row")
        self._row += 1

    def _look_ahead(self, rows: int) -> bool:
        while len(self._ahead) < rows:
            item = next(self._rows, None)
            if item is None:
                break
            self._ahead.append(item)
        return bool(self._ahead)
