"""Checks a shard's .rec and .idx: contiguous records, and an index of exactly these records."""

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ovocr.labelgen.verification.finding import Findings
from ovocr.recordio import Record, RecordError
from ovocr.recordio.recfile import RecFile

_LINE = re.compile(rb"([0-9]{1,20})\t([0-9]{1,20})\n")


@dataclass
class StoredRecords:
    """The records of a .rec. spans: maps the id of each record to its first byte and the byte after its last."""

    path: Path
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    damaged: bool = False

    def __post_init__(self) -> None:
        self._rec = RecFile(self.path)

    def read(self, id: int) -> tuple[Record, bytes]:
        """Returns the record and its bytes in the file. Raises RecordError or OSError."""
        start, end = self.spans[id]
        record = self._rec.record(start)
        with open(self.path, "rb", buffering=0) as file:
            return record, os.pread(file.fileno(), end - start, start)


def check_records(rec: Path, idx: Path | None, findings: Findings) -> StoredRecords:
    """Reads the headers of the .rec and compares the index with them. idx: None if it cannot be read.

    After a damaged record, the index gives the position of the next one.
    """
    lines = _index_lines(idx, findings) if idx is not None else []
    records = StoredRecords(rec)
    walked = 0
    for offset, id, end in _walk(records, sorted({offset for _, _, offset in lines}), findings):
        if id != walked:
            findings.add(rec, f"byte {offset}", f"record {walked}", f"record {id}")
        records.spans.setdefault(id, (offset, end))
        walked = id + 1
    if idx is not None:
        _compare(idx, lines, records, findings)
    return records


def _index_lines(path: Path, findings: Findings) -> list[tuple[int, int, int]]:
    """Returns line number, id and offset of each valid line."""
    lines = []
    try:
        data = path.read_bytes()
    except OSError as error:
        findings.add(path, "", "a readable file", error.strerror)
        return []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            findings.add(path, f"line {number}", "id, tab, byte offset, line feed", repr(line))
        else:
            lines.append((number, int(match[1]), int(match[2])))
    return lines


def _walk(records: StoredRecords, known: list[int], findings: Findings) -> Iterator[tuple[int, int, int]]:
    """Yields offset, id and end of each record. known: offsets in the index, used to resume after damage."""
    rec = RecFile(records.path)
    try:
        size = rec.size()
        offset, resumed = 0, -1
        while offset < size:
            try:
                id, end = rec.id(offset)
            except RecordError as error:
                findings.add(records.path, f"byte {offset}", "a complete record", error)
                records.damaged = True
                entry = bisect_right(known, resumed)
                entry += known[entry : entry + 1] == [offset]
                if entry == len(known) or known[entry] >= size:
                    return
                offset = resumed = known[entry]
                continue
            yield offset, id, end
            resumed, offset = max(resumed, offset), end
    except RecordError as error:
        findings.add(records.path, "", "a readable file", error)
        records.damaged = True
    finally:
        rec.close()


def _compare(path: Path, lines: list[tuple[int, int, int]], records: StoredRecords, findings: Findings) -> None:
    expected = 0
    for number, id, offset in lines:
        if id != expected:
            findings.add(path, f"line {number}", f"record {expected}", f"record {id}")
        expected = id + 1
        span = records.spans.get(id)
        if span is None and not records.damaged:
            findings.add(path, f"line {number}", "a record in the .rec", f"record {id}, which the .rec lacks")
        elif span is not None and span[0] != offset:
            findings.add(path, f"line {number}", f"byte {span[0]} (start of record {id})", f"byte {offset}")
    for id in sorted(set(records.spans) - {id for _, id, _ in lines}):
        findings.add(path, "", f"a line for record {id}", "no such line")
