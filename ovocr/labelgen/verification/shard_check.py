"""All checks of one shard: the work of a process."""

from dataclasses import dataclass
from typing import NamedTuple

from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.schemas import OCR, records_schema
from ovocr.dataset.statistics import ShardCounts, data_file_names
from ovocr.dataset.text import TextShard
from ovocr.labelgen.verification.counts_check import check_counts, count_rows
from ovocr.labelgen.verification.deep_check import DeepCheck
from ovocr.labelgen.verification.files_check import check_files, check_statistics
from ovocr.labelgen.verification.finding import Finding, Findings
from ovocr.labelgen.verification.plan import Plan
from ovocr.labelgen.verification.rec_check import StoredRecords, check_records
from ovocr.labelgen.verification.tables import StoredTable


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """The findings and figures of one shard.

    images, records: how many were checked. bytes: size of the shard's files. beyond: number of unlisted findings.
    """

    number: int
    images: int
    records: int
    bytes: int
    findings: list[Finding]
    beyond: int


class ShardToCheck(NamedTuple):
    """A finished shard. entry: its entry in the manifest."""

    shard: TextShard
    entry: ShardEntry

    def __str__(self) -> str:
        """Returns the shard's name in messages."""
        return str(self.shard)


def check_shard(plan: Plan, to_check: ShardToCheck) -> ShardReport:
    """Checks a finished shard. Damaged files give findings, not errors."""
    shard, entry = to_check
    names = data_file_names(plan.manifest.has_text)
    with shard_on_disk(shard.data_set, shard.number, names, checked=False) as data_set:
        return _ShardCheck(plan, data_set, shard.number, entry).run()


class _ShardCheck:
    def __init__(self, plan: Plan, data_set: LabelledDataSet, number: int, entry: ShardEntry) -> None:
        self._plan = plan
        self._entry = entry
        self._number = number
        self._findings = Findings(data_set, number)
        self._stats_path = data_set.stats_path(number)
        self._with_text = plan.manifest.has_text
        self._paths = data_set.data_files(number, with_text=self._with_text)

    def run(self) -> ShardReport:
        self._statistics, self._invalid = check_statistics(
            self._stats_path, self._entry, self._plan.manifest, self._findings
        )
        files = self._statistics.files if self._statistics is not None else {}
        readable, size = check_files(self._paths, files, self._findings)
        records = None
        if "rec" in readable:
            index = self._paths["idx"] if "idx" in readable else None
            records = check_records(self._paths["rec"], index, self._findings)
        rows, texts = (self._table(name) if name in readable else None for name in ("records", "ocr"))
        counts = self._check_rows(rows, texts, records) if rows is not None else ShardCounts()
        return ShardReport(
            number=self._number,
            images=counts.input,
            records=len(records.spans) if records is not None else 0,
            bytes=size,
            findings=self._findings.listed,
            beyond=self._findings.beyond,
        )

    def _table(self, name: str) -> StoredTable:
        schema = OCR if name == "ocr" else records_schema(self._with_text)
        return StoredTable(self._paths[name], schema, self._findings)

    def _check_rows(self, rows: StoredTable, texts: StoredTable | None, records: StoredRecords | None) -> ShardCounts:
        counts = count_rows(rows, texts, self._findings)
        if texts is not None and not texts.valid:
            texts = None
        if not rows.valid:
            return counts
        if self._statistics is not None:
            check_counts(
                self._stats_path,
                self._statistics,
                self._invalid,
                counts,
                lines=texts is not None,
                findings=self._findings,
            )
        if records is not None and not records.damaged and len(records.spans) != counts.ok:
            expected = f"{counts.ok} records, one per ok image"
            self._findings.add(records.path, "", expected, str(len(records.spans)))
        if not self._plan.quick:
            DeepCheck(
                self._plan, self._findings, source=self._entry.source, rows=rows, texts=texts, records=records
            ).run()
        return counts
