"""Checks a shard's statistics against its rows."""

from pathlib import Path

from ovocr.dataset.records import count_records
from ovocr.dataset.statistics import ShardCounts, ShardStatistics, count_names
from ovocr.dataset.text import count_lines
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.tables import StoredTable


def count_rows(records: StoredTable, texts: StoredTable | None, findings: Findings) -> ShardCounts:
    """Counts the rows. texts: table with a row for each image that was read; None if the shard has no such table."""
    counts = ShardCounts()
    for batch in records.batches():
        count_records(counts, batch)
    read = 0
    for batch in texts.batches() if texts is not None else ():
        read += batch.num_rows
        counts.lines += count_lines(batch)
    if texts is not None and records.valid and texts.valid and read != counts.ok + counts.dropped:
        expected = f"{counts.ok + counts.dropped} rows, one per image in {records.path.parent.name} that was read"
        findings.add(texts.path, "", expected, f"{read} rows")
    return counts


def check_counts(
    path: Path, statistics: ShardStatistics, invalid: set[str], counts: ShardCounts, *, lines: bool, findings: Findings
) -> None:
    """Compares the statistics with the counts of the rows.

    invalid: names of values that already have findings. lines: True if the lines were counted.
    """
    unknown = invalid | {"ignored"} | (set() if lines else {"lines"})
    for name in count_names(statistics.has_text):
        found_count, count = getattr(statistics.counts, name), getattr(counts, name)
        if name not in unknown and found_count != count:
            findings.add(path, name, f"{count} (sum over the rows)", found_count)
    expected, found = (dict(sorted(each.reasons.items())) for each in (counts, statistics.counts))
    if "reasons" not in invalid and expected != found:
        findings.add(path, "reasons", f"{expected} (sum over the rows)", repr(found))
