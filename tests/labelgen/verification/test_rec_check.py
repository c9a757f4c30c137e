"""The check of all records at once finds what the check of one record after the other finds."""

import os
import pickle
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.verification import rec_check, verify
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.rec_check import check_records
from ovocr.labelgen.verification.report import VerificationReport
from ovocr.recordio import RecordWriter
from ovocr.recordio.format import MAGIC_BYTES, PART_AND_HEADER

RECORDS = 7
# Byte offsets in a record: of its length with the continuation flag, and of its id.
LENGTH, ID = 4, 16
SPLIT_IMAGE = b"abcd" + MAGIC_BYTES + b"efgh"


def write(folder: Path, image: bytes = b"image") -> tuple[Path, Path]:
    prefix = folder / "00000"
    with RecordWriter(prefix) as writer:
        for number in range(RECORDS):
            writer.write(number, np.arange(number % 3 + 1), image * number)
    return prefix.with_suffix(".rec"), prefix.with_suffix(".idx")


def starts(idx: Path) -> list[int]:
    return [int(line.split("\t")[1]) for line in idx.read_text().splitlines()]


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def edit_record(number: int, offset: int, data: bytes) -> Callable[[Path, Path], None]:
    return lambda rec, idx: patch(rec, starts(idx)[number] + offset, data)


def edit_index(edit: Callable[[str], str]) -> Callable[[Path, Path], Any]:
    return lambda rec, idx: idx.write_bytes(edit(idx.read_text()).encode())


def damages() -> Iterator[tuple[str, Callable[[Path, Path], Any]]]:
    yield "magic", edit_record(3, 0, b"none")
    yield "shorter record", edit_record(2, LENGTH, struct.pack("<I", PART_AND_HEADER.size))
    yield "longer record", edit_record(2, LENGTH, struct.pack("<I", 10_000))
    yield "record without a header", edit_record(0, LENGTH, struct.pack("<I", 3))
    yield "other id", edit_record(4, ID, struct.pack("<Q", 9))
    yield "continuation flag", edit_record(4, LENGTH, struct.pack("<I", 3 << 29 | 40))
    yield "truncated", lambda rec, idx: os.truncate(rec, rec.stat().st_size - 8)
    yield "truncated inside a word", lambda rec, idx: os.truncate(rec, rec.stat().st_size - 3)
    yield "trailing bytes", lambda rec, idx: patch(rec, rec.stat().st_size, b"1234")
    yield "empty .rec", lambda rec, idx: rec.write_bytes(b"")
    yield "empty index", edit_index(lambda text: "")
    yield "line is missing", edit_index(lambda text: text.partition("\n")[2])
    yield "last line is missing", edit_index(lambda text: text[: text.rindex("\n", 0, -1) + 1])
    yield "last line end is missing", edit_index(lambda text: text[:-1])
    yield "offset beyond the end", edit_index(lambda text: text.replace("\n2\t", "\n2\t9"))
    yield "offset beyond 64 bits", edit_index(lambda text: text.replace("\n2\t", "\n2\t99999999999999999999"))
    yield "underscore", edit_index(lambda text: text.replace("\n2\t", "\n2\t0_"))
    yield "other white space", edit_index(lambda text: text.replace("\n2\t", "\n2 "))
    yield "no number", edit_index(lambda text: text.replace("\n2\t", "\ntwo\t"))
    yield "other order", edit_index(lambda text: "".join(reversed(text.splitlines(keepends=True))))
    yield "index is missing", lambda rec, idx: idx.unlink()


def check(rec: Path, idx: Path) -> tuple[object, list[str], int]:
    findings = Findings(LabelledDataSet(rec.parent), 0)
    found = check_records(rec, idx, findings)
    return (found.spans, found.damaged), [finding.format() for finding in findings.listed], findings.beyond


@pytest.mark.parametrize("damage", [pytest.param(damage, id=name) for name, damage in damages()])
def test_damaged_files_are_checked_one_record_after_the_other(
    damage: Callable[[Path, Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rec, idx = write(tmp_path)
    damage(rec, idx)
    at_once = check(rec, idx)
    monkeypatch.setattr(rec_check, "_sound_records", lambda rec, idx: None)
    assert at_once == check(rec, idx)
    assert at_once[1]


@pytest.mark.parametrize("image", [b"", b"image", SPLIT_IMAGE])
def test_sound_files_have_the_same_records_either_way(image: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rec, idx = write(tmp_path, image)
    at_once = check(rec, idx)
    assert at_once[1:] == ([], 0)
    walked = []
    with monkeypatch.context() as patched:
        patched.setattr(rec_check, "_walk", lambda *arguments: walked.append(arguments) or iter(()))
        check(rec, idx)
    assert bool(walked) is (image is SPLIT_IMAGE)
    monkeypatch.setattr(rec_check, "_sound_records", lambda rec, idx: None)
    assert at_once == check(rec, idx)


def test_processes_get_a_shard_without_the_others(
    built: tuple[LabelledDataSet, Totals], check: Callable[..., VerificationReport], monkeypatch: pytest.MonkeyPatch
):
    data_set = built[0]
    sent = []

    def map_shards(work: partial[Any], shards: list[Any], workers: int) -> Iterator[Any]:
        sent.extend(pickle.dumps((work, shard)) for shard in shards)
        return map(work, shards)

    monkeypatch.setattr(verify, "map_shards", map_shards)
    assert not check(data_set.root, quick=True).broken
    sources = [entry.source.encode() for entry in data_set.manifest().shards]
    assert len(sent) == len(sources) > 1
    for own, data in zip(sources, sent, strict=True):
        assert [source for source in sources if source in data] == [own]
