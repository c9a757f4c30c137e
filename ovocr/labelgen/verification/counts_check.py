"""Checks a shard's statistics against its rows."""

from pathlib import Path

from ovocr.dataset.records import count_records
from ovocr.dataset.statistics import ShardCounts, ShardStatistics, count_names
from ovocr.dataset.text import count_lines
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.tables import StoredTable


def count_rows(records: StoredTable, texts: StoredTable | None, findings: Findings) -> ShardCounts:
    """Returns the counts of the rows. texts: None if the shard has none; else one row for each image that was read."""
    counts = ShardCounts()
    for batch in records.batches():
        count_records(counts, batch)
    read = 0
    for batch in texts.batches() if texts is not None else ():
        read += batch.num_rows
        counts.lines += count_lines(batch)
    if texts is not None and records.sound and texts.sound and read != counts.ok + counts.dropped:
        promised = f"{counts.ok + counts.dropped} rows, as many as {records.path.parent.name} has of images read"
        findings.add(texts.path, "", promised, f"{read} rows")
    return counts


def check_counts(
    path: Path, statistics: ShardStatistics, wrong: set[str], counts: ShardCounts, *, lines: bool, findings: Findings
) -> None:
    """Compares the statistics with the counts of the rows.

    wrong: names of values that are findings already. lines: the lines could be counted.
    """
    unknown = wrong | {"ignored"} | (set() if lines else {"lines"})
    for name in count_names(statistics.has_text):
        found_count, count = getattr(statistics.counts, name), getattr(counts, name)
        if name not in unknown and found_count != count:
            findings.add(path, name, f"{count}, as the rows add up to", found_count)
    promised, found = (dict(sorted(of.reasons.items())) for of in (counts, statistics.counts))
    if "reasons" not in wrong and promised != found:
        findings.add(path, "reasons", f"{promised}, as the rows add up to", repr(found))
