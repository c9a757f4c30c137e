"""Each kind of damage is caught by the hashes, and by a check of its own once the hashes are made anew."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.verification.report import VerificationReport
from ovocr.recordio import RecordReader, RecordWriter
from ovocr.vocab import Vocabulary

Check = Callable[..., VerificationReport]
Damage = Callable[[LabelledDataSet], object]
REC, IDX, OCR, RECORDS = "rec/00000.rec", "rec/00000.idx", "ocr/00000.parquet", "records/00000.parquet"


def flip(path: Path, offset: int, bit: int = 0x01) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(data)


def at_mark(data_set: LabelledDataSet, mark: bytes, ahead: int, bit: int = 0x01) -> None:
    """Flip a byte ``ahead`` of where the .rec of the first shard has ``mark`` first."""
    path = data_set.rec_prefix(0).with_suffix(".rec")
    flip(path, path.read_bytes().index(mark) + ahead, bit)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def rewrite(data_set: LabelledDataSet, change: Callable[[list[Any]], object]) -> None:
    """Write the records of the first shard anew, [id, labels, image] each, by the real writer."""
    prefix = data_set.rec_prefix(0)
    with RecordReader(prefix) as reader:
        records = [[record.id, record.labels.copy(), record.image] for record in reader]
    change(records)
    with RecordWriter(prefix) as writer:
        for record in records:
            writer.write(*record)


def record_of_the_other_shard(data_set: LabelledDataSet) -> None:
    with RecordReader(data_set.rec_prefix(1)) as reader:
        _, labels, image = reader[0]
    rewrite(data_set, lambda records: records.__setitem__(0, [0, labels, image]))


def picture_of_another_record(data_set: LabelledDataSet) -> None:
    rewrite(data_set, lambda records: records[0].__setitem__(2, records[1][2]))


def files_of_the_other_shard(data_set: LabelledDataSet) -> None:
    for suffix in (".rec", ".idx"):
        shutil.copy(data_set.rec_prefix(1).with_suffix(suffix), data_set.rec_prefix(0).with_suffix(suffix))


def swap_lines(data_set: LabelledDataSet) -> None:
    path = data_set.rec_prefix(0).with_suffix(".idx")
    first, second, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *others]))


def add_bytes(data_set: LabelledDataSet, data: bytes) -> None:
    with open(data_set.rec_prefix(0).with_suffix(".rec"), "ab") as file:
        file.write(data)


def flip_padding(data_set: LabelledDataSet) -> None:
    """A zero behind a picture that does not end at a multiple of 4 bytes."""
    with RecordReader(data_set.rec_prefix(0)) as reader:
        ends = [*reader.offsets.tolist()[1:], data_set.rec_prefix(0).with_suffix(".rec").stat().st_size]
        place = next(end - 1 for record, end in zip(reader, ends, strict=True) if len(record.image) % 4)
    flip(data_set.rec_prefix(0).with_suffix(".rec"), place)


def of_rows(kind: str, edit: Callable[[list[dict[str, Any]]], object]) -> Callable[[LabelledDataSet, Any], None]:
    return lambda data_set, edited: edited(data_set.root / kind / "00000.parquet", edit)


def first_line(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return rows[0]["lines"][0]


# What is done to the first shard; the file and the words in which the check of its own reports it.
FILES: dict[str, tuple[Damage, str, str]] = {
    "height in a jpeg": (lambda it: at_mark(it, b"\xff\xc0\x00\x11\x08", 6), REC, "picture: should be 420x90 pixels"),
    "start of a jpeg": (lambda it: at_mark(it, b"\xff\xd8\xff", 1), REC, "not a JPEG that every decoder shows alike"),
    "label": (lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 24 + 2, 0x80), REC, "label 0: should be"),
    "label, still a class id": (
        lambda it: rewrite(it, lambda records: records[0][1].__setitem__(1, 7)),
        REC,
        "label 1: should be 1, as the image's tags and the policy give it, is 7",
    ),
    "label out of range": (
        lambda it: rewrite(it, lambda records: records[2][1].__setitem__(4, 12)),
        REC,
        "label 4: should be a class id below 12, is 12.0",
    ),
    "too few labels": (
        lambda it: rewrite(it, lambda records: records[0].__setitem__(1, records[0][1][:4])),
        REC,
        "should be with 5 labels, is with 4",
    ),
    "padding between records": (
        flip_padding,
        REC,
        "should be as the record writer writes it",
    ),
    "second id of a record": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 16),
        REC,
        "byte 24 of it: should be as the record writer writes it",
    ),
    "number of labels": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 3, 0x40),
        REC,
        "readable, is ",
    ),
    "magic": (lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 0), REC, "byte 0: should be a whole record"),
    "id of a record": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 8),
        REC,
        "byte 0: should be record 0, is record 1",
    ),
    "bytes behind the records": (lambda it: add_bytes(it, b"\0" * 12), REC, "should be a whole record"),
    "cut .rec": (lambda it: cut(it.rec_prefix(0).with_suffix(".rec")), REC, "truncated at byte"),
    "empty .rec": (lambda it: os.truncate(it.rec_prefix(0).with_suffix(".rec"), 0), REC, "should be with 3 records"),
    "digit of the index": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".idx"), -2),
        IDX,
        "line 3: should be byte",
    ),
    "swapped lines of the index": (swap_lines, IDX, "line 1: should be of record 0, is of record 1"),
    "cut .idx": (lambda it: cut(it.rec_prefix(0).with_suffix(".idx")), IDX, "with record 2"),
    "no index": (lambda it: os.truncate(it.rec_prefix(0).with_suffix(".idx"), 0), IDX, "with record 0, is without"),
    "record of another shard": (record_of_the_other_shard, REC, "as the image's tags and the policy give it"),
    "picture of another record": (picture_of_another_record, REC, "picture: should be 420x90 pixels"),
    "files of another shard": (files_of_the_other_shard, REC, "should be with 3 records"),
    "byte of records": (lambda it: flip(it.records_path(0), -9), RECORDS, "should be readable"),
    "byte of ocr": (lambda it: flip(it.ocr_path(0), -9), OCR, "should be readable"),
    "cut records": (lambda it: cut(it.records_path(0)), RECORDS, "should be readable"),
    "cut ocr": (lambda it: cut(it.ocr_path(0)), OCR, "should be readable"),
    "records of ocr": (lambda it: shutil.copy(it.ocr_path(0), it.records_path(0)), RECORDS, "should be columns source"),
}
ROWS: dict[str, tuple[Callable[[LabelledDataSet, Any], None], str, str]] = {
    "row removed from records": (
        of_rows("records", lambda rows: rows.pop(2)),
        RECORDS,
        "row 4 (a/fox.jpg), record_id: should be 1, is 2",
    ),
    "row removed from ocr": (
        of_rows("ocr", lambda rows: rows.pop(1)),
        OCR,
        "row 1: should be that of row 1 (a/blank.png) of records, is 1 (b/many.PNG)",
    ),
    "row twice in ocr": (
        of_rows("ocr", lambda rows: rows.insert(1, rows[0])),
        OCR,
        "row 1 (a/fox.jpg): should be that of an image of records, is of none",
    ),
    "key of ocr": (of_rows("ocr", lambda rows: rows[1].update(key="x")), OCR, "is 1 (x)"),
    "source": (of_rows("records", lambda rows: rows[3].update(source="x")), RECORDS, "source: should be"),
    "status": (of_rows("records", lambda rows: rows[3].update(status="x")), RECORDS, "status: should be one of ok"),
    "reason of another status": (
        of_rows("records", lambda rows: rows[1].update(reason="empty")),
        RECORDS,
        "reason: should be of an image that is dropped",
    ),
    "reason of another picture": (
        of_rows("records", lambda rows: rows[1].update(reason="no-word-in-vocabulary")),
        RECORDS,
        "status: should be dropped no-text by its text",
    ),
    "null": (of_rows("records", lambda rows: rows[1].update(key=None)), RECORDS, "a value in every key, is null"),
    "null below a list": (
        of_rows("ocr", lambda rows: first_line(rows).update(text=None)),
        OCR,
        "a value in every lines, is null",
    ),
    "words found": (
        of_rows("records", lambda rows: rows[0].update(words_found=7)),
        RECORDS,
        "words_found: should be 6 by its text, is 7",
    ),
    "words in the vocabulary": (
        of_rows("records", lambda rows: rows[3].update(words_in_vocabulary=1)),
        RECORDS,
        "words_in_vocabulary: should be 0 by its text, is 1",
    ),
    "tag": (
        of_rows("records", lambda rows: rows[0]["tags"][1].update(id=9)),
        RECORDS,
        "tag 1: should be class id 1 in line 0",
    ),
    "tag out of range": (
        of_rows("records", lambda rows: rows[0]["tags"][1].update(id=12)),
        RECORDS,
        "tag 1: should be a class id below 12, is 12",
    ),
    "tag twice": (
        of_rows("records", lambda rows: rows[0]["tags"].append(rows[0]["tags"][0])),
        RECORDS,
        "tags: should be distinct class ids",
    ),
    "tag of a line that is not there": (
        of_rows("records", lambda rows: rows[0]["tags"][0].update(line=3)),
        RECORDS,
        "tag 0: should be in one of lines 0 to 0, is in line 3",
    ),
    "box outside the picture": (
        of_rows("records", lambda rows: rows[0]["tags"][0]["box"].__setitem__(2, 500.0)),
        RECORDS,
        "tag 0: should be a box inside 420x90 pixels",
    ),
    "box inside the picture": (
        of_rows("records", lambda rows: rows[0]["tags"][0]["box"].__setitem__(2, 50.0)),
        RECORDS,
        "tag 0: should be class id 0 in line 0 at",
    ),
    "tags of a dropped picture": (
        of_rows("records", lambda rows: rows[3]["tags"].extend(rows[0]["tags"][:1])),
        RECORDS,
        "tags: should be none: the image is dropped, is 1",
    ),
    "text": (
        of_rows("ocr", lambda rows: first_line(rows).update(text="the quick brown dog the dog")),
        RECORDS,
        "tag 3: should be class id 7 in line 0",
    ),
    "box of a line that is no number": (
        of_rows("ocr", lambda rows: first_line(rows)["box"].__setitem__(0, float("nan"))),
        OCR,
        "line 0: should be a box inside 420x90 pixels",
    ),
    "score": (of_rows("ocr", lambda rows: first_line(rows).update(score=1.5)), OCR, "should be a score from 0 to 1"),
    "width": (of_rows("ocr", lambda rows: rows[0].update(width=421)), REC, "picture: should be 421x90 pixels"),
    "size": (of_rows("ocr", lambda rows: rows[0].update(width=0)), OCR, "should be the size of an image"),
}
DAMAGES = {**{name: (lambda it, _, do=do: do(it), *told) for name, (do, *told) in FILES.items()}, **ROWS}


def found(report: VerificationReport) -> list[str]:
    return [finding.format() for finding in report.findings]


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_a_file_changes_its_hash(name: str, copy: LabelledDataSet, check: Check, edited: Any):
    damage = DAMAGES[name][0]
    damage(copy, edited)
    for quick in (True, False):
        hashes = [finding for finding in check(copy.root, quick=quick).findings if finding.where == "sha256"]
        assert hashes
        assert all(len(finding.found) == 64 for finding in hashes)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_a_file_is_caught_without_its_hash(
    name: str, copy: LabelledDataSet, check: Check, rehash: Any, edited: Any
):
    damage, file, words = DAMAGES[name]
    damage(copy, edited)
    rehash(copy)
    lines = found(check(copy.root))
    assert any(line.startswith(file) and words in line for line in lines), "\n".join(lines)
    assert not any("sha256" in line for line in lines)


def test_a_byte_of_a_picture_that_still_decodes_is_caught_by_the_hash_alone(
    copy: LabelledDataSet, check: Check, rehash: Any
):
    at_mark(copy, b"\xff\xda", 60)
    assert [finding.where for finding in check(copy.root).findings] == ["sha256"]
    rehash(copy)
    assert check(copy.root).broken == 0


def other_vocabulary(data_set: LabelledDataSet) -> None:
    words = Vocabulary.load(data_set.vocabulary_path)
    turned = [words.word(id) for id in reversed(range(len(words)))]
    Vocabulary(turned, words.settings).save(data_set.vocabulary_path)


def test_another_vocabulary_is_caught_by_its_hash_and_by_the_labels(copy: LabelledDataSet, check: Check):
    other_vocabulary(copy)
    report = check(copy.root)
    assert [(finding.file, finding.where) for finding in report.findings] == [
        ("vocab.txt", ""),
        ("vocab.txt.json", ""),
    ]
    assert report.notices == ["words and tags were not compared with the text: the vocabulary is not the manifest's"]
    manifest = read_object(copy.manifest_path)
    manifest["vocabulary"]["sha256"] = Vocabulary.load(copy.vocabulary_path).sha256
    copy.manifest_path.write_text(json.dumps(manifest))
    lines = found(check(copy.root))
    assert any("row 0 (a/fox.jpg), tag 0: should be class id 11 in line 0" in line for line in lines), lines


@pytest.mark.parametrize("name", [REC, IDX, OCR, RECORDS])
def test_a_missing_file_and_a_folder_in_its_place_are_caught(copy: LabelledDataSet, check: Check, name: str):
    (copy.root / name).unlink()
    assert f"{name}: should be a file, is missing" in found(check(copy.root))
    (copy.root / name).mkdir()
    assert f"{name}: should be a file, is something else" in found(check(copy.root))


def test_records_behind_a_damaged_one_are_still_checked(copy: LabelledDataSet, check: Check, rehash: Any):
    """The index tells where the next one is."""
    prefix = copy.rec_prefix(0)
    offsets = RecordReader(prefix).offsets.tolist()
    flip(prefix.with_suffix(".rec"), offsets[1])
    rehash(copy)
    report = check(copy.root)
    assert report.records == 2 + 1  # of this shard and of the other
    assert [line.split(": ")[1] for line in found(report)][:2] == [f"byte {offsets[1]}", f"byte {offsets[2]}"]
    assert "rec/00000.rec: should be with record 1 (b/many.PNG), is without it" in found(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", [REC, IDX, OCR, RECORDS])
def test_any_byte_may_change_without_an_error(copy: LabelledDataSet, check: Check, rehash: Any, name: str):
    """What is damaged is reported, whatever stands there; what the statistics say is not needed for that."""
    path = copy.root / name
    whole, generator = path.read_bytes(), np.random.default_rng(3)
    stats = copy.stats_path(0).read_bytes()
    caught = 0
    for place in generator.choice(len(whole), min(40, len(whole)), replace=False).tolist():
        flip(path, place, int(generator.integers(1, 256)))
        assert check(copy.root, quick=True).broken
        rehash(copy)
        caught += check(copy.root).broken > 0
        path.write_bytes(whole[:place])
        rehash(copy)
        assert check(copy.root).broken, place
        path.write_bytes(whole)
        copy.stats_path(0).write_bytes(stats)
    assert caught
    assert check(copy.root).broken == 0


def test_findings_of_a_shard_are_bounded_and_counted(copy: LabelledDataSet, check: Check, rehash: Any):
    path = copy.rec_prefix(0).with_suffix(".idx")
    path.write_bytes(b"nonsense\n" * 1000)
    rehash(copy)
    report = check(copy.root)
    assert len(report.findings) == 20
    assert report.broken >= 1000
    assert f"and {report.beyond} more" in report.format().splitlines()


def test_hostile_keys_are_shown_and_not_sent(copy: LabelledDataSet, check: Check, edited: Any):
    edited(copy.records_path(0), lambda rows: rows[0].update(key="\x1b[31m\u202e" + "x" * 5000, source="\x07"))
    text = check(copy.root).format()
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert "row 0 (\\x1b[31m\\u202exxx" in text
    assert max(map(len, text.splitlines())) < 1000
