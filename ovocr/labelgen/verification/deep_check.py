"""Checks the images of a shard one by one: row, text, words, tags, labels and stored image."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from ovocr.dataset.outcome import Status
from ovocr.dataset.records import RecordRow, parse_records
from ovocr.dataset.text import StoredText
from ovocr.labelgen.tagging.tag_slots import fill_slots
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.plan import Plan
from ovocr.labelgen.verification.rec_check import StoredRecords
from ovocr.labelgen.verification.record_check import RecordCheck
from ovocr.labelgen.verification.row_check import RowCheck, check_places, check_text
from ovocr.labelgen.verification.tables import StoredTable
from ovocr.labelgen.verification.text_check import check_against_text
from ovocr.labelgen.verification.text_rows import TextRows


class DeepCheck:
    """Checks the images of one shard. source: of its images. texts, records: None if the file cannot be read."""

    def __init__(
        self,
        plan: Plan,
        findings: Findings,
        *,
        source: str,
        rows: StoredTable,
        texts: StoredTable | None,
        records: StoredRecords | None,
    ) -> None:
        self._plan = plan
        self._manifest = plan.manifest
        self._findings = findings
        self._rows = rows
        self._texts = TextRows(texts, findings) if texts is not None else None
        self._labeller = plan.labeller()
        self._check_row = RowCheck(rows.path, plan.manifest, source, findings)
        self._check_record = RecordCheck(records, plan.manifest, findings) if records is not None else None

    def run(self) -> None:
        """Adds a finding for each problem."""
        positions = count()
        for batch in self._rows.batches():
            for row in parse_records(batch, [next(positions) for _ in range(batch.num_rows)]):
                self._check(row)
        if self._texts is not None:
            self._texts.check_end()
        if self._check_record is not None:
            self._check_record.check_end()

    def _check(self, row: RecordRow) -> None:
        self._check_row(row)
        text = None
        if self._texts is not None and row.was_read:
            text = self._texts.find(row)
            if text is not None:
                self._check_text(row, text, self._texts.path)
        if self._check_record is not None and row.status == Status.OK:
            size = (text.width, text.height) if text is not None else None
            self._check_record(row, self._slots(row), size)

    def _check_text(self, row: RecordRow, text: StoredText, path: Path) -> None:
        """Checks the text of a row, and the row against it. path: file with the texts."""
        valid = check_text(path, row, text, self._findings)
        check_places(self._rows.path, row, text, self._findings)
        if valid and self._plan.same_rules and self._labeller is not None:
            check_against_text(self._rows.path, row, text, self._labeller, self._findings)

    def _slots(self, row: RecordRow) -> Sequence[int] | None:
        """Returns the labels that follow from the row's places; None if they are unknown."""
        if not row.places or any(not 0 <= tag < self._manifest.num_classes for tag in row.tags):
            return None
        if not self._manifest.has_text:
            return fill_slots(row.tags, self._manifest.policy.tags)
        return self._labeller.slots(row.places, row.key) if self._labeller is not None else None
