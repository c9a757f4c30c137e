"""The images of a shard one by one: row, text, words, tags, labels and picture."""

from collections.abc import Sequence

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Outcome, Status
from ovocr.labelgen.shards.labelled_shard import StoredText
from ovocr.labelgen.tagging.tag_slots import fill_slots
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.plan import Plan
from ovocr.labelgen.verification.rec_check import StoredRecords
from ovocr.labelgen.verification.record_check import RecordCheck
from ovocr.labelgen.verification.row_check import RowCheck, check_places, check_text
from ovocr.labelgen.verification.rows import Row, StoredTexts, read_rows, was_read
from ovocr.labelgen.verification.tables import StoredTable
from ovocr.labelgen.verification.text_check import check_against_text


class DeepCheck:
    """Checks the images of one shard. texts, records: None where the file cannot be used."""

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
        self._promises = plan.promises
        self._findings = findings
        self._rows = rows
        self._texts_path = texts.path if texts is not None else None
        self._texts = StoredTexts(texts, findings) if texts is not None else None
        self._labeller = plan.labeller(data_set)
        self._check_row = RowCheck(rows.path, plan.promises, findings.shard, findings)
        self._check_record = RecordCheck(records, plan.promises, findings) if records is not None else None

    def run(self) -> None:
        """Note everything that is wrong with them."""
        for row in read_rows(self._rows):
            self._check_row(row)
            text = self._texts.of(row) if self._texts is not None and was_read(row) else None
            outcome = self._check_text(row, text) if text is not None else None
            if self._check_record is not None and row.status == Status.OK:
                size = (text.width, text.height) if text is not None else None
                self._check_record(row, self._slots(row, outcome), size)
        if self._texts is not None:
            self._texts.check_end()
        if self._check_record is not None:
            self._check_record.check_end()

    def _check_text(self, row: Row, text: StoredText) -> Outcome | None:
        """What the text gives; None where that cannot be said."""
        assert self._texts_path is not None
        sound = check_text(self._texts_path, row, text, self._findings)
        check_places(self._rows.path, row, text, self._findings)
        if not (sound and self._plan.same_rules and self._labeller is not None):
            return None
        return check_against_text(self._rows.path, row, text, self._labeller, self._findings)

    def _slots(self, row: Row, outcome: Outcome | None) -> Sequence[int] | None:
        """The labels that the row's tags give; None where that cannot be said."""
        ids = [tag.id for tag in row.tags]
        if not ids or any(not 0 <= id < self._promises.classes for id in ids):
            return None
        if not self._promises.with_text:
            return fill_slots(ids, self._promises.policy.tags)
        if self._promises.policy.repeats:  # how often a word stands in the image is in its text alone
            return outcome.slots if outcome is not None and outcome.slots else None
        return self._labeller.slots(ids, row.key) if self._labeller is not None else None
