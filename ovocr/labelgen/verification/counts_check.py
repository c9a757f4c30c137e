"""A shard's counts: those of its statistics, and those of its rows."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ovocr.dataset.outcome import Status
from ovocr.labelgen.shards.totals import ShardCounts, count_names
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.promises import is_count
from ovocr.labelgen.verification.tables import StoredTable

_STATUS_COUNTS = {Status.OK: "ok", Status.DROPPED: "dropped", Status.QUARANTINED: "quarantined"}


def count_rows(records: StoredTable, texts: StoredTable | None, findings: Findings) -> ShardCounts:
    """What the rows add up to. texts: what was read, None where nothing was; its rows are as many as were read."""
    counts = ShardCounts()
    for batch in records.batches():
        _count_batch(counts, batch)
    read = 0
    for batch in texts.batches() if texts is not None else ():
        read += batch.num_rows
        counts.lines += _sum(batch.column("lines").value_lengths())
    if texts is not None and records.sound and texts.sound and read != counts.ok + counts.dropped:
        promised = f"{counts.ok + counts.dropped} rows, as many as {records.path.parent.name} has of images read"
        findings.add(texts.path, "", promised, f"{read} rows")
    return counts


def _count_batch(counts: ShardCounts, batch: pa.RecordBatch) -> None:
    counts.input += batch.num_rows
    for item in pc.value_counts(batch.column("status")).to_pylist():
        name = _STATUS_COUNTS.get(item["values"])
        if name is not None:
            setattr(counts, name, getattr(counts, name) + item["counts"])
    for item in pc.value_counts(batch.column("reason").drop_null()).to_pylist():
        counts.reasons[item["values"]] += item["counts"]
    for name in ("words_found", "words_in_vocabulary"):
        if name in batch.schema.names:
            setattr(counts, name, getattr(counts, name) + _sum(batch.column(name)))
    counts.tags += _sum(batch.column("tags").value_lengths())


def _sum(column: pa.Array) -> int:
    return pc.sum(column).as_py() or 0


def check_counts(
    path: Path, stats: dict[str, Any], counts: ShardCounts, *, lines: int | None, with_text: bool, findings: Findings
) -> None:
    """Hold the statistics against what the rows add up to. lines: None where they could not be counted."""
    promised = {**vars(counts), "lines": lines, "ignored": None}
    for name in count_names(with_text):
        value = stats.get(name)
        if not is_count(value):
            findings.add(path, name, "a count", repr(value))
        elif promised[name] is not None and value != promised[name]:
            findings.add(path, name, f"{promised[name]}, as the rows add up to", value)
    reasons = dict(sorted(counts.reasons.items()))
    if stats.get("reasons") != reasons:
        findings.add(path, "reasons", f"{reasons}, as the rows add up to", repr(stats.get("reasons")))


def check_sum(path: Path, stats: dict[str, Any], findings: Findings) -> None:
    """Is every image counted once, as ok, dropped or quarantined?"""
    parts = [stats.get(name) for name in _STATUS_COUNTS.values()]
    if all(map(is_count, parts)) and sum(part or 0 for part in parts) != stats.get("input"):
        findings.add(path, "input", f"{' + '.join(map(str, parts))}: ok, dropped and quarantined", stats.get("input"))
