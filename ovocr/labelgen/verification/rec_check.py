"""Checks a shard's .rec and .idx: contiguous records, and an index of exactly these records."""

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovocr.labelgen.verification.finding import Findings
from ovocr.recordio import Record, RecordError
from ovocr.recordio.format import HEADER, MAGIC, MAX_PAYLOAD_BYTES, PART, PART_AND_HEADER, UINT32
from ovocr.recordio.index import format_index
from ovocr.recordio.recfile import RecFile

# The fields of PART_AND_HEADER.
_HEADER = np.dtype(
    [("magic", "<u4"), ("length", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("id", "<u8"), ("id2", "<u8")]
)
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
    if idx is not None and (sound := _sound_records(rec, idx)) is not None:
        return sound
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


def _sound_records(rec: Path, idx: Path) -> StoredRecords | None:
    """Returns the records if all headers and lines are as they should be, and no record has several parts; else None.

    The same checks as those of one record after the other, which name what is wrong, in a hundredth of the time.
    """
    try:
        data = idx.read_bytes()
        numbers = list(map(int, data.split()))
        offsets = np.array(numbers[1::2], np.int64)
        size = os.stat(rec).st_size
    except (OSError, ValueError, OverflowError):
        return None
    ids = range(len(offsets))
    if not len(offsets) or format_index(dict(zip(ids, numbers[1::2], strict=True))) != data:
        return None
    starts, ends = offsets.tolist(), [*offsets[1:].tolist(), size]
    if starts[0] or (offsets % 4).any() or (np.diff([*starts, size]) < PART_AND_HEADER.size).any():
        return None
    words = _gather_words(rec, offsets // 4)
    if words is None or not _are_headers(words, offsets, np.array(ends)):
        return None
    return StoredRecords(rec, dict(zip(ids, zip(starts, ends, strict=True), strict=True)))


def _gather_words(rec: Path, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32] | None:
    """Returns the part and the header of each record: uint32 [records, words]; None if the file cannot be read.

    positions: of their first words of 4 bytes, all of which are in the file.
    """
    try:
        mapped = np.memmap(rec, UINT32, mode="r")
    except (OSError, ValueError):  # its size is not that of whole words
        return None
    return np.asarray(mapped[positions[:, None] + np.arange(PART_AND_HEADER.size // 4)])


def _are_headers(words: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> bool:
    """Returns True if each record is whole and ends where the next one begins, and record n has the id n."""
    headers = np.ascontiguousarray(words).view(_HEADER)[:, 0]
    lengths = headers["length"].astype(np.int64)  # the flag of a whole record is 0, so no other bit may be set
    sound = (headers["magic"] == MAGIC) & (lengths <= MAX_PAYLOAD_BYTES) & (lengths >= HEADER.size)
    sound &= starts + PART.size + (lengths + 3) // 4 * 4 == ends
    sound &= headers["id"] == np.arange(len(headers), dtype=np.uint64)
    return bool(sound.all())


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
