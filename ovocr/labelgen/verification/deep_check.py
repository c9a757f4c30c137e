"""Checks the images of a shard one by one: row, text, words, tags, labels and stored image."""

from collections.abc import Sequence
from itertools import count

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.records import RecordRow, parse_records
from ovocr.dataset.text import StoredText
from ovocr.labelgen.tagging.tag_slots import fill_slots
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.plan import Plan
from ovocr.labelgen.verification.rec_check import StoredRecords
from ovocr.labelgen.verification.record_check import RecordCheck
from ovocr.labelgen.verification.row_check import RowCheck, check_tags, check_text
from ovocr.labelgen.verification.tables import StoredTable
from ovocr.labelgen.verification.text_check import check_against_text
from ovocr.labelgen.verification.text_rows import TextRows


class DeepCheck:
    """Checks the images of one shard. texts, records: None if the file cannot be read."""

    def __init__(
        self,
        plan: Plan,
        data_set: LabelledDataSet,
        findings: Findings,
        *,
        rows: StoredTable,
        texts: StoredTable | None,
        records: StoredRecords | None,
    ) -> None:
        assert findings.shard is not None
        self._plan = plan
        self._manifest = plan.manifest
        self._findings = findings
        self._rows = rows
        self._texts = TextRows(texts, findings) if texts is not None else None
        self._labeller = plan.labeller(data_set)
        self._check_row = RowCheck(rows.path, plan.manifest, findings.shard, findings)
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
        text = outcome = None
        if self._texts is not None and row.was_read:
            text = self._texts.find(row)
            if text is not None:
                outcome = self._label(row, text, self._texts)
        if self._check_record is not None and row.status == Status.OK:
            size = (text.width, text.height) if text is not None else None
            self._check_record(row, self._slots(row, outcome), size)

    def _label(self, row: RecordRow, text: StoredText, texts: TextRows) -> Outcome | None:
        """Returns the outcome that follows from the text; None if it is unknown."""
        valid = check_text(texts.path, row, text, self._findings)
        check_tags(self._rows.path, row, text, self._findings)
        if not (valid and self._plan.same_rules and self._labeller is not None):
            return None
        return check_against_text(self._rows.path, row, text, self._labeller, self._findings)

    def _slots(self, row: RecordRow, outcome: Outcome | None) -> Sequence[int] | None:
        """Returns the labels that follow from the row's tags; None if they are unknown."""
        ids = [tag.id for tag in row.tags]
        if not ids or any(not 0 <= id < self._manifest.num_classes for id in ids):
            return None
        if not self._manifest.has_text:
            return fill_slots(ids, self._manifest.policy.tags)
        if self._manifest.policy.repeats:  # only the text shows how often a word occurs
            return outcome.slots if outcome is not None and outcome.slots else None
        return self._labeller.slots(ids, row.key) if self._labeller is not None else None
