"""All checks of one shard: the work of a process."""

from dataclasses import dataclass

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.schemas import OCR, PACKED_RECORDS, RECORDS
from ovocr.dataset.shard_files import shard_files
from ovocr.labelgen.shards.totals import ShardCounts
from ovocr.labelgen.verification.counts_check import check_counts, check_sum, count_rows
from ovocr.labelgen.verification.deep_check import DeepCheck
from ovocr.labelgen.verification.finding import Finding, Findings
from ovocr.labelgen.verification.plan import Plan
from ovocr.labelgen.verification.rec_check import StoredRecords, check_records
from ovocr.labelgen.verification.shard_files_check import check_files, check_stats
from ovocr.labelgen.verification.tables import StoredTable
from ovocr.vocab.corpus import TextShard


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What was looked at and what was found. bytes: of its files."""

    number: int
    images: int
    records: int
    bytes: int
    findings: list[Finding]
    beyond: int


def check_shard(plan: Plan, shard: TextShard) -> ShardReport:
    """Everything about a shard that has statistics. Raises nothing for what is wrong with its files."""
    return _ShardCheck(plan, LabelledDataSet(shard.root), shard.number).run()


class _ShardCheck:
    def __init__(self, plan: Plan, data_set: LabelledDataSet, number: int) -> None:
        self._plan = plan
        self._data_set = data_set
        self._number = number
        self._findings = Findings(data_set.root, number)
        self._stats_path = data_set.stats_path(number)
        self._paths = shard_files(data_set, number, with_text=plan.promises.with_text)

    def run(self) -> ShardReport:
        promised = self._plan.promises.shards[self._number]
        stats = check_stats(self._data_set, self._number, promised, self._findings)
        readable, size = check_files(self._paths, self._stats_path, stats, self._findings)
        if stats is not None:
            check_sum(self._stats_path, stats, self._findings)
        records = None
        if "rec" in readable:
            index = self._paths["idx"] if "idx" in readable else None
            records = check_records(self._paths["rec"], index, self._findings)
        rows, texts = (self._table(name) if name in readable else None for name in ("records", "ocr"))
        counts = self._check_rows(stats, rows, texts, records) if rows is not None else ShardCounts()
        return ShardReport(
            number=self._number,
            images=counts.input,
            records=len(records.places) if records is not None else 0,
            bytes=size,
            findings=self._findings.listed,
            beyond=self._findings.beyond,
        )

    def _table(self, name: str) -> StoredTable:
        schema = OCR if name == "ocr" else RECORDS if self._plan.promises.with_text else PACKED_RECORDS
        return StoredTable(self._paths[name], schema, self._findings)

    def _check_rows(
        self,
        stats: dict[str, object] | None,
        rows: StoredTable,
        texts: StoredTable | None,
        records: StoredRecords | None,
    ) -> ShardCounts:
        counts = count_rows(rows, texts, self._findings)
        if texts is not None and not texts.sound:
            texts = None
        if not rows.sound:
            return counts
        if stats is not None:
            with_text = self._plan.promises.with_text
            lines = counts.lines if texts is not None else None
            check_counts(self._stats_path, stats, counts, lines=lines, with_text=with_text, findings=self._findings)
        if records is not None and not records.damaged and len(records.places) != counts.ok:
            promised = f"with {counts.ok} records, one for each image that is ok"
            self._findings.add(records.path, "", promised, f"with {len(records.places)}")
        if not self._plan.quick:
            DeepCheck(self._plan, self._data_set, self._findings, rows=rows, texts=texts, records=records).run()
        return counts
