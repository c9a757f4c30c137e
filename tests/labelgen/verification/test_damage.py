"""Hashes find each kind of damage. A separate check finds it after the hashes are recomputed."""

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


def flip_after(data_set: LabelledDataSet, mark: bytes, ahead: int, bit: int = 0x01) -> None:
    """Flips a bit ``ahead`` bytes after the start of the first ``mark`` in the .rec of the first shard."""
    path = data_set.rec_prefix(0).with_suffix(".rec")
    flip(path, path.read_bytes().index(mark) + ahead, bit)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def rewrite(data_set: LabelledDataSet, change: Callable[[list[Any]], object]) -> None:
    """Changes the records of the first shard, a list of [id, labels, image], and writes them with the real writer."""
    prefix = data_set.rec_prefix(0)
    with RecordReader(prefix) as reader:
        records = [[record.id, record.labels.copy(), record.image] for record in reader]
    change(records)
    with RecordWriter(prefix) as writer:
        for record in records:
            writer.write(*record)


def copy_record_of_second_shard(data_set: LabelledDataSet) -> None:
    with RecordReader(data_set.rec_prefix(1)) as reader:
        _, labels, image = reader[0]
    rewrite(data_set, lambda records: records.__setitem__(0, [0, labels, image]))


def copy_image_of_second_record(data_set: LabelledDataSet) -> None:
    rewrite(data_set, lambda records: records[0].__setitem__(2, records[1][2]))


def copy_files_of_second_shard(data_set: LabelledDataSet) -> None:
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
    """Flips a bit of the padding after an image whose length is not a multiple of 4 bytes."""
    with RecordReader(data_set.rec_prefix(0)) as reader:
        ends = [*reader.offsets.tolist()[1:], data_set.rec_prefix(0).with_suffix(".rec").stat().st_size]
        place = next(end - 1 for record, end in zip(reader, ends, strict=True) if len(record.image) % 4)
    flip(data_set.rec_prefix(0).with_suffix(".rec"), place)


def edit_table(kind: str, edit: Callable[[list[dict[str, Any]]], object]) -> Callable[[LabelledDataSet, Any], None]:
    return lambda data_set, edited: edited(data_set.root / kind / "00000.parquet", edit)


def first_line(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return rows[0]["lines"][0]


# Damage to the first shard, the file that is reported, and words of the finding without hashes.
FILES: dict[str, tuple[Damage, str, str]] = {
    "height in a jpeg": (lambda it: flip_after(it, b"\xff\xc0\x00\x11\x08", 6), REC, "image: expected 420x90 pixels"),
    "start of a jpeg": (
        lambda it: flip_after(it, b"\xff\xd8\xff", 1),
        REC,
        "not a JPEG that every decoder shows alike",
    ),
    "label": (lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 24 + 2, 0x80), REC, "label 0: expected"),
    "label, still a class id": (
        lambda it: rewrite(it, lambda records: records[0][1].__setitem__(1, 7)),
        REC,
        "label 1: expected 1 (from the image's tags and the policy), found 7",
    ),
    "label out of range": (
        lambda it: rewrite(it, lambda records: records[2][1].__setitem__(4, 12)),
        REC,
        "label 4: expected a class id below 12, found 12.0",
    ),
    "too few labels": (
        lambda it: rewrite(it, lambda records: records[0].__setitem__(1, records[0][1][:4])),
        REC,
        "expected 5 labels, found 4",
    ),
    "padding between records": (
        flip_padding,
        REC,
        "expected the byte that the record writer writes",
    ),
    "second id of a record": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 16),
        REC,
        "byte 24 of it: expected the byte that the record writer writes",
    ),
    "number of labels": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 3, 0x40),
        REC,
        "expected a readable record, found ",
    ),
    "magic": (lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 0), REC, "byte 0: expected a complete record"),
    "id of a record": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".rec"), 8 + 8),
        REC,
        "byte 0: expected record 0, found record 1",
    ),
    "bytes after the records": (lambda it: add_bytes(it, b"\0" * 12), REC, "expected a complete record"),
    "cut .rec": (lambda it: cut(it.rec_prefix(0).with_suffix(".rec")), REC, "truncated at byte"),
    "empty .rec": (lambda it: os.truncate(it.rec_prefix(0).with_suffix(".rec"), 0), REC, "expected 3 records"),
    "digit of the index": (
        lambda it: flip(it.rec_prefix(0).with_suffix(".idx"), -2),
        IDX,
        "line 3: expected byte",
    ),
    "swapped lines of the index": (swap_lines, IDX, "line 1: expected record 0, found record 1"),
    "cut .idx": (lambda it: cut(it.rec_prefix(0).with_suffix(".idx")), IDX, "a line for record 2"),
    "no index": (
        lambda it: os.truncate(it.rec_prefix(0).with_suffix(".idx"), 0),
        IDX,
        "a line for record 0, found no such line",
    ),
    "record of another shard": (copy_record_of_second_shard, REC, "from the image's tags and the policy"),
    "image of another record": (copy_image_of_second_record, REC, "image: expected 420x90 pixels"),
    "files of another shard": (copy_files_of_second_shard, REC, "expected 3 records"),
    "byte of records": (lambda it: flip(it.records_path(0), -9), RECORDS, "expected readable rows"),
    "byte of ocr": (lambda it: flip(it.ocr_path(0), -9), OCR, "expected readable rows"),
    "cut records": (lambda it: cut(it.records_path(0)), RECORDS, "expected readable rows"),
    "cut ocr": (lambda it: cut(it.ocr_path(0)), OCR, "expected readable rows"),
    "records of ocr": (lambda it: shutil.copy(it.ocr_path(0), it.records_path(0)), RECORDS, "expected columns source"),
}
ROWS: dict[str, tuple[Callable[[LabelledDataSet, Any], None], str, str]] = {
    "row removed from records": (
        edit_table("records", lambda rows: rows.pop(2)),
        RECORDS,
        "row 4 (a/fox.jpg), record_id: expected 1, found 2",
    ),
    "row removed from ocr": (
        edit_table("ocr", lambda rows: rows.pop(1)),
        OCR,
        "row 1: expected the text of row 1 (a/blank.png) of records, found row 1 (b/many.PNG)",
    ),
    "row twice in ocr": (
        edit_table("ocr", lambda rows: rows.insert(1, rows[0])),
        OCR,
        "row 1 (a/fox.jpg): expected the text of an image in records, found an extra row",
    ),
    "key of ocr": (edit_table("ocr", lambda rows: rows[1].update(key="x")), OCR, "found row 1 (x)"),
    "source": (edit_table("records", lambda rows: rows[3].update(source="x")), RECORDS, "source: expected"),
    "status": (edit_table("records", lambda rows: rows[3].update(status="x")), RECORDS, "status: expected one of ok"),
    "reason of another status": (
        edit_table("records", lambda rows: rows[1].update(reason="empty")),
        RECORDS,
        "reason: expected a reason for status dropped",
    ),
    "reason of another image": (
        edit_table("records", lambda rows: rows[1].update(reason="no-word-in-vocabulary")),
        RECORDS,
        "status: expected dropped no-text (from its text)",
    ),
    "null": (edit_table("records", lambda rows: rows[1].update(key=None)), RECORDS, "a value in every key, found null"),
    "null below a list": (
        edit_table("ocr", lambda rows: first_line(rows).update(text=None)),
        OCR,
        "a value in every lines, found null",
    ),
    "words found": (
        edit_table("records", lambda rows: rows[0].update(words_found=7)),
        RECORDS,
        "words_found: expected 6 (from its text), found 7",
    ),
    "words in the vocabulary": (
        edit_table("records", lambda rows: rows[3].update(words_in_vocabulary=1)),
        RECORDS,
        "words_in_vocabulary: expected 0 (from its text), found 1",
    ),
    "class id of a place": (
        edit_table("records", lambda rows: rows[0]["tags"][1].update(id=9)),
        RECORDS,
        "row 0 (a/fox.jpg), place 1: expected class id 1 in line 0",
    ),
    "class id out of range": (
        edit_table("records", lambda rows: rows[0]["tags"][1].update(id=12)),
        RECORDS,
        "place 1: expected a class id below 12, found 12",
    ),
    "place too many": (
        edit_table("records", lambda rows: rows[0]["tags"].append(rows[0]["tags"][0])),
        RECORDS,
        "places: expected 6 (words_in_vocabulary), found 7",
    ),
    "place too many, against the text": (
        edit_table("records", lambda rows: rows[0]["tags"].append(rows[0]["tags"][0])),
        RECORDS,
        "place 6: expected none (from its text), found class id 0 in line 0",
    ),
    "second place of a word removed": (
        edit_table("records", lambda rows: rows[0]["tags"].pop()),
        RECORDS,
        "row 0 (a/fox.jpg), places: expected 6 (words_in_vocabulary), found 5",
    ),
    "second place of a word removed, against the text": (
        edit_table("records", lambda rows: rows[0]["tags"].pop()),
        RECORDS,
        "row 0 (a/fox.jpg), place 5: expected class id 3 in line 0",
    ),
    "order of places": (
        edit_table("records", lambda rows: rows[0]["tags"].insert(0, rows[0]["tags"].pop())),
        RECORDS,
        "place 0: expected class id 0 in line 0",
    ),
    "place in a missing line": (
        edit_table("records", lambda rows: rows[0]["tags"][5].update(line=3)),
        RECORDS,
        "place 5: expected a line from 0 to 0, found line 3",
    ),
    "place in another line": (
        edit_table("records", lambda rows: rows[2]["tags"][0].update(line=1)),
        RECORDS,
        "row 2 (b/many.PNG), place 0: expected class id 8 in line 0 at",
    ),
    "box outside the image": (
        edit_table("records", lambda rows: rows[0]["tags"][5]["box"].__setitem__(2, 500.0)),
        RECORDS,
        "place 5: expected a box inside 420x90 pixels",
    ),
    "wrong box inside the image": (
        edit_table("records", lambda rows: rows[0]["tags"][5]["box"].__setitem__(2, 50.0)),
        RECORDS,
        "place 5: expected class id 3 in line 0 at",
    ),
    "places of a dropped image": (
        edit_table("records", lambda rows: rows[3]["tags"].extend(rows[0]["tags"][:1])),
        RECORDS,
        "places: expected none (status dropped), found 1",
    ),
    "text": (
        edit_table("ocr", lambda rows: first_line(rows).update(text="the quick brown dog the dog")),
        RECORDS,
        "place 3: expected class id 7 in line 0",
    ),
    "box with nan": (
        edit_table("ocr", lambda rows: first_line(rows)["box"].__setitem__(0, float("nan"))),
        OCR,
        "line 0: expected a box inside 420x90 pixels",
    ),
    "score": (edit_table("ocr", lambda rows: first_line(rows).update(score=1.5)), OCR, "expected a score from 0 to 1"),
    "edge removed": (
        edit_table("ocr", lambda rows: first_line(rows)["edges"].pop()),
        OCR,
        "a/fox.jpg, line 0: expected no edges or 28 ascending edges from 0 to 1, found (",
    ),
    "edges in another order": (
        edit_table("ocr", lambda rows: first_line(rows)["edges"].reverse()),
        OCR,
        "expected no edges or 28 ascending edges",
    ),
    "edge beyond the line": (
        edit_table("ocr", lambda rows: first_line(rows)["edges"].__setitem__(-1, 1.01)),
        OCR,
        "expected no edges or 28 ascending edges",
    ),
    "edge before the line": (
        edit_table("ocr", lambda rows: first_line(rows)["edges"].__setitem__(0, -0.01)),
        OCR,
        "expected no edges or 28 ascending edges",
    ),
    "edge that is no number": (
        edit_table("ocr", lambda rows: first_line(rows)["edges"].__setitem__(3, float("nan"))),
        OCR,
        "expected no edges or 28 ascending edges",
    ),
    "null edge": (
        edit_table("ocr", lambda rows: first_line(rows)["edges"].__setitem__(3, None)),
        OCR,
        "a value in every lines, found null",
    ),
    "moved edge": (
        edit_table("ocr", lambda rows: first_line(rows)["edges"].__setitem__(0, 0.0)),
        RECORDS,
        "row 0 (a/fox.jpg), place 0: expected class id 0 in line 0 at",
    ),
    "edges removed": (
        edit_table("ocr", lambda rows: first_line(rows).update(edges=[])),
        RECORDS,
        "row 0 (a/fox.jpg), place 0: expected class id 0 in line 0 at",
    ),
    "width": (edit_table("ocr", lambda rows: rows[0].update(width=421)), REC, "image: expected 421x90 pixels"),
    "size": (edit_table("ocr", lambda rows: rows[0].update(width=0)), OCR, "expected a width and height above 0"),
}
DAMAGES = {**{name: (lambda it, _, do=do: do(it), *expected) for name, (do, *expected) in FILES.items()}, **ROWS}


def found(report: VerificationReport) -> list[str]:
    return [finding.format() for finding in report.findings]


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_changes_the_hash_of_a_file(name: str, copy: LabelledDataSet, check: Check, edited: Any):
    damage = DAMAGES[name][0]
    damage(copy, edited)
    for quick in (True, False):
        hashes = [finding for finding in check(copy.root, quick=quick).findings if finding.where == "sha256"]
        assert hashes
        assert all(len(finding.found) == 64 for finding in hashes)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_without_the_hash(name: str, copy: LabelledDataSet, check: Check, rehash: Any, edited: Any):
    damage, file, words = DAMAGES[name]
    damage(copy, edited)
    rehash(copy)
    lines = found(check(copy.root))
    assert any(line.startswith(file) and words in line for line in lines), "\n".join(lines)
    assert not any("sha256" in line for line in lines)


def test_only_the_hash_finds_a_changed_byte_of_an_image_that_decodes(copy: LabelledDataSet, check: Check, rehash: Any):
    flip_after(copy, b"\xff\xda", 60)
    assert [finding.where for finding in check(copy.root).findings] == ["sha256"]
    rehash(copy)
    assert check(copy.root).broken == 0


def reverse_vocabulary(data_set: LabelledDataSet) -> None:
    words = Vocabulary.load(data_set.vocabulary_path)
    backwards = [words.word(id) for id in reversed(range(len(words)))]
    Vocabulary(backwards, words.settings).save(data_set.vocabulary_path)


def test_different_vocabulary_is_found_by_its_hash_and_by_the_tags(copy: LabelledDataSet, check: Check):
    reverse_vocabulary(copy)
    report = check(copy.root)
    assert [(finding.file, finding.where) for finding in report.findings] == [
        ("vocab.txt", ""),
        ("vocab.txt.json", ""),
    ]
    assert report.notices == [
        "words and tags were not compared with the text, because the vocabulary does not match the manifest"
    ]
    manifest = read_object(copy.manifest_path)
    manifest["vocabulary"]["sha256"] = Vocabulary.load(copy.vocabulary_path).sha256
    copy.manifest_path.write_text(json.dumps(manifest))
    lines = found(check(copy.root))
    assert any("row 0 (a/fox.jpg), place 0: expected class id 11 in line 0" in line for line in lines), lines


@pytest.mark.parametrize("name", [REC, IDX, OCR, RECORDS])
def test_missing_file_and_folder_in_place_of_a_file_are_found(copy: LabelledDataSet, check: Check, name: str):
    (copy.root / name).unlink()
    assert f"{name}: expected a file, found nothing" in found(check(copy.root))
    (copy.root / name).mkdir()
    assert f"{name}: expected a file, found something else" in found(check(copy.root))


def test_records_after_a_damaged_record_are_checked(copy: LabelledDataSet, check: Check, rehash: Any):
    """The index gives the position of the next record."""
    prefix = copy.rec_prefix(0)
    offsets = RecordReader(prefix).offsets.tolist()
    flip(prefix.with_suffix(".rec"), offsets[1])
    rehash(copy)
    report = check(copy.root)
    assert report.records == 2 + 1  # of the first and the second shard
    assert [line.split(": ")[1] for line in found(report)][:2] == [f"byte {offsets[1]}", f"byte {offsets[2]}"]
    assert "rec/00000.rec: expected record 1 (b/many.PNG), found no such record" in found(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", [REC, IDX, OCR, RECORDS])
def test_changed_bytes_are_findings_and_not_errors(copy: LabelledDataSet, check: Check, rehash: Any, name: str):
    """Damage is found with and without the hashes in the statistics."""
    path = copy.root / name
    whole, generator = path.read_bytes(), np.random.default_rng(3)
    stats = copy.stats_path(0).read_bytes()
    caught = 0
    for offset in generator.choice(len(whole), min(40, len(whole)), replace=False).tolist():
        flip(path, offset, int(generator.integers(1, 256)))
        assert check(copy.root, quick=True).broken
        rehash(copy)
        caught += check(copy.root).broken > 0
        path.write_bytes(whole[:offset])
        rehash(copy)
        assert check(copy.root).broken, offset
        path.write_bytes(whole)
        copy.stats_path(0).write_bytes(stats)
    assert caught
    assert check(copy.root).broken == 0


def test_findings_of_a_shard_are_limited_and_counted(copy: LabelledDataSet, check: Check, rehash: Any):
    path = copy.rec_prefix(0).with_suffix(".idx")
    path.write_bytes(b"nonsense\n" * 1000)
    rehash(copy)
    report = check(copy.root)
    assert len(report.findings) == 20
    assert report.broken >= 1000
    assert f"and {report.beyond} more" in report.format().splitlines()


def test_hostile_keys_are_escaped(copy: LabelledDataSet, check: Check, edited: Any):
    edited(copy.records_path(0), lambda rows: rows[0].update(key="\x1b[31m\u202e" + "x" * 5000, source="\x07"))
    text = check(copy.root).format()
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert "row 0 (\\x1b[31m\\u202exxx" in text
    assert max(map(len, text.splitlines())) < 1000
