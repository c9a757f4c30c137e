"""Explanations of tags in real data sets."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ovocr.cli import main
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet, OldFormatError
from ovocr.dataset.schemas import RECORDS
from ovocr.dataset.tables import RowWriter
from ovocr.labelgen.options import PackOptions, RelabelOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.provenance.provenance import explain
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.tagging.word_boxes import BoxOrigin
from ovocr.recordio import RecordReader, RecordWriter
from ovocr.vocab.word_frequencies import WordFrequencies
from tests.old_format import make_old

Built = tuple[LabelledDataSet, Totals]


def why(*arguments: object) -> tuple[int, list[str], str]:
    result = CliRunner().invoke(main, ["why", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout.splitlines(), result.stderr


def test_each_tag_has_places_and_slots(built: Built):
    (story,) = explain(built[0].root, "fox.jpg").stories
    assert (story.shard, story.row, story.record_id, story.status, story.size) == (1, 0, 0, "ok", (420, 90))
    assert (story.words_found, story.words_in_vocabulary, story.competing, story.rule) == (4, 4, 4, "")
    assert [(tag.id, tag.word, [place.word for place in tag.places]) for tag in story.tags] == [
        (5, "over", [0]),
        (0, "the", [1]),
        (6, "lazy", [2]),
        (3, "fox", [3]),
    ]
    rows = pq.read_table(built[0].records_path(1)).to_pylist()
    text = pq.read_table(built[0].ocr_path(1)).to_pylist()
    for tag, stored in zip(story.tags, rows[0]["tags"], strict=True):
        (place,) = tag.places
        assert list(place.box) == stored["box"]
        assert place.line.text == "over the lazy fox"
        assert place.line.score == pytest.approx(text[0]["lines"][0]["score"], abs=1e-6)
        assert [word.word for word in place.line.words] == ["over", "the", "lazy", "fox"]
    with RecordReader(built[0].rec_prefix(1)) as records:
        labels = records[0].labels.tolist()
    assert {tag.id: tag.slots for tag in story.tags} == {
        id: [slot for slot, label in enumerate(labels) if label == id] for id in (5, 0, 6, 3)
    }
    fox = story.lines[0].words[-1]
    edges = text[0]["lines"][0]["edges"]
    assert [fox.start, fox.end] == pytest.approx([edges[14], edges[17]], abs=1e-4)
    assert story.lines[0].box_origin is BoxOrigin.COLUMNS


def test_all_images_with_the_key_are_shown(built: Built):
    code, lines, _ = why(built[0].root, "a/fox.jpg", "FOX")
    assert code == 0
    source = read_object(built[0].manifest_path)["shards"][0]["source"]
    for block, row, record in ((lines[:12], 0, 0), (lines[13:], 5, 2)):
        assert block[:3] == [
            "a/fox.jpg",
            f"  source  {source}; row {row} of records/00000.parquet",
            f"  status  ok: record {record} of rec/00000.rec",
        ]
        assert block[4] == "  tag 3 fox"
        line = 'line 0 "the quick brown fox the fox" = the + quick + brown + fox + the + fox, score '
        for number, word in ((1, 4), (2, 6)):
            first, second, third = block[3 * number + 2 : 3 * number + 5]
            assert first.startswith(f"    place {number} of 2: {line}")
            assert re.fullmatch(rf"      word {word} of 6, from [0-9.]+% to [0-9.]+% of the line", second)
            assert third.startswith("      box from the recogniser's columns: (")
        assert block[11:] == ["    in 1 of 5 slots: 3"]


def test_tag_with_one_place_is_compact(built: Built):
    _, lines, _ = why(built[0].root, "fox.jpg", "lazy")
    line = pq.read_table(built[0].ocr_path(1)).to_pylist()[0]["lines"][0]
    start, end = line["edges"][9], line["edges"][13]
    assert lines[4] == "  tag 6 lazy"
    assert lines[5].startswith('    line 0 "over the lazy fox" = over + the + lazy + fox, score ')
    assert lines[6] == f"    word 3 of 4, from {start:.1%} to {end:.1%} of the line"
    assert lines[7].startswith("    box from the recogniser's columns: (")
    assert lines[8] == "    in 1 of 5 slots: 2"


def relabelled_lines(built: Built, root: Path, change: Any) -> Path:
    """Changes each line of the second shard in place, and makes new places for the new text in another folder."""
    copy = LabelledDataSet(Path(shutil.copytree(built[0].root, root / "copy")))
    table = pq.read_table(copy.ocr_path(1))
    rows = table.to_pylist()
    for row in rows:
        for line in row["lines"]:
            change(line)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), copy.ocr_path(1))
    relabel(RelabelOptions(source=copy.root, out=root / "out"), progress=False)
    return root / "out"


def test_box_of_a_line_without_edges_is_interpolated(built: Built, tmp_path: Path):
    out = relabelled_lines(built, tmp_path, lambda line: line.update(edges=[]))
    _, lines, _ = why(out, "fox.jpg", "fox")
    assert lines[6] == "    word 4 of 4, from 82.3% to 100.0% of the line"
    assert lines[7].startswith("    box interpolated: (")


def test_word_of_a_line_without_a_position_has_the_whole_image(built: Built, tmp_path: Path):
    whole = [0, 0, 420, 0, 420, 90, 0, 90]
    out = relabelled_lines(built, tmp_path, lambda line: line.update(edges=[], box=whole))
    _, lines, _ = why(out, "fox.jpg", "fox")
    assert lines[6:8] == ["    word 4 of 4", "    the whole image: (0, 0) (420, 0) (420, 90) (0, 90)"]
    _, lines, _ = why(out, "fox.jpg", "fox", "--json", "-")
    (image,) = json.loads("\n".join(lines))["images"]
    assert image["lines"][0]["words"][-1] == {
        **{"word": "fox", "id": 3, "start": None, "end": None},
        "left_out": "",
    }


def test_places_in_the_text_of_other_rules_are_shown(built: Built, tmp_path: Path):
    """A place whose word is no longer in its line has no number of the word."""
    copy = LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))
    table = pq.read_table(copy.ocr_path(0))
    rows = table.to_pylist()
    rows[0]["lines"][0]["text"] = "the quick brown fox the dog"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), copy.ocr_path(0))
    story, _ = explain(copy.root, "a/fox.jpg", "fox").stories
    assert [place.word for place in story.tags[0].places] == [3, None]
    _, lines, _ = why(copy.root, "a/fox.jpg", "fox")
    assert sum("word 4 of 6" in line for line in lines) == 2  # of the first place of both images
    assert sum("word 6 of 6" in line for line in lines) == 1


def test_left_out_words_and_the_rule_are_shown(built: Built):
    (story,) = explain(built[0].root, "b/many.PNG").stories
    assert (story.competing, story.slots) == (6, 5)
    assert story.rule == "the words with the smallest blake2b digests of (seed 7, key, id) are kept"
    assert sorted(rank for tag in story.tags for rank in tag.ranks) == list(range(6))
    for tag in story.tags:
        assert bool(tag.slots) == (tag.ranks[0] < 5)
    _, lines, _ = why(built[0].root, "b/many.PNG")
    assert "  slots   5 for 6: the words with the smallest blake2b digests of (seed 7, key, id) are kept" in lines
    assert lines.count("    in no slot: left out; rank 6 of 6") == 1


def test_weights_and_repeats_are_shown(built: Built, tmp_path: Path):
    out = tmp_path / "out"
    relabel(RelabelOptions(source=built[0].root, out=out, policy="idf", repeats=True, tags=3, seed=4), progress=False)
    story, _ = explain(out, "a/fox.jpg").stories
    assert (story.competing, story.slots) == (6, 3)
    assert story.rule.startswith("words are drawn one after another in proportion to their idf weights")
    frequencies = WordFrequencies.load(out / "frequencies.tsv")
    for tag in story.tags:
        assert tag.weight == frequencies.weight(tag.word)
        assert len(tag.ranks) == {"the": 2, "fox": 2}.get(tag.word, 1)
        assert len(tag.slots) == sum(rank < 3 for rank in tag.ranks)
    assert sum(len(tag.slots) for tag in story.tags) == 3


@pytest.mark.parametrize(
    ("key", "tag", "answer"),
    [
        ("fox.jpg", "river", "river has class id 8; it was not read in the image, which has 1 line"),
        ("fox.jpg", "8", "river has class id 8; it was not read in the image, which has 1 line"),
        ("fox.jpg", "12", "12: class ids go from 0 to 11"),
        ("fox.jpg", "foxes", "foxes: not in the vocabulary; it was not read in the image, which has 1 line; "),
        ("fox.jpg", "foxes", "the closest word is fox"),
        ("fox.jpg", "Laz", "(looked up as laz); its letters were read but segmented into other words: line 0 "),
        ("b/unknown.png", "violin", 'violin: not in the vocabulary; it was read: line 0 "violin quartz" = [violin] + '),
        ("b/unknown.png", "fox", "fox has class id 3; it was not read"),
        ("b/cut.jpg", "fox", "fox has class id 3; the image was not read: truncated"),
    ],
)
def test_absent_tag_is_explained(built: Built, key: str, tag: str, answer: str):
    (story,) = explain(built[0].root, key, tag).stories
    assert story.tags == []
    assert answer in story.answers[0]
    code, lines, _ = why(built[0].root, key, tag)
    assert code == 0
    assert f"  {story.answers[0]}" in lines


def test_differently_segmented_letters_of_a_vocabulary_word_are_found(built: Built, tmp_path: Path):
    (tmp_path / "v.txt").write_text("laz\nfox\n")
    relabel(RelabelOptions(source=built[0].root, out=tmp_path / "out", vocab=str(tmp_path / "v.txt")), progress=False)
    (story,) = explain(tmp_path / "out", "fox.jpg", "laz").stories
    assert story.answers == [
        "laz has class id 0; its letters were read but segmented into other words: "
        'line 0 "over the lazy fox" = [over] + [the] + [lazy] + fox'
    ]


def test_images_without_a_record_are_shown(built: Built):
    _, lines, _ = why(built[0].root, "b/unknown.png")
    assert lines[2:4] == [
        "  status  dropped: no-word-in-vocabulary",
        "  read    420x90 pixels, 1 line, 2 words, 0 of them in the vocabulary",
    ]
    assert lines[4].startswith('  line 0 "violin quartz" = [violin] + [quartz], score ')
    assert lines[5:] == ["  (words in brackets are not in the vocabulary)"]
    _, lines, _ = why(built[0].root, "a/blank.png")
    assert lines[2:] == [
        "  status  dropped: no-text",
        "  read    80x60 pixels, 0 lines, 0 words, 0 of them in the vocabulary",
    ]
    _, lines, _ = why(built[0].root, "b/cut.jpg")
    assert lines[2].startswith("  status  quarantined: truncated: ")
    assert len(lines) == 3


def test_image_out_of_reach_has_words_but_no_tags(built: Built, tmp_path: Path):
    (tmp_path / "v.txt").write_text("violin\n")
    source = Path(read_object(built[0].manifest_path)["shards"][0]["source"])
    source.rename(tmp_path / "away.tar")
    try:
        options = RelabelOptions(source=built[0].root, out=tmp_path / "out", vocab=str(tmp_path / "v.txt"))
        relabel(options, progress=False)
    finally:
        (tmp_path / "away.tar").rename(source)
    (story,) = explain(tmp_path / "out", "b/unknown.png", "violin").stories
    (answer,) = story.answers
    assert answer.startswith(
        "violin has class id 0; it was read, but the image does not have the tag (source-out-of-reach)"
    )


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("many.png", "similar keys: b/many.PNG, a/blank.png"),
        ("a/fux.jpg", "similar keys: a/fox.jpg, fox.jpg, b/cut.jpg"),
        ("zzzz", "a key is the path inside the source with its extension"),
        ("x" * 1000, "a key is the path inside the source with its extension"),
        ("\x1b[31m", "a key is the path inside the source with its extension"),
    ],
)
def test_error_of_an_unknown_key_names_similar_keys(built: Built, key: str, hint: str):
    code, lines, errors = why(built[0].root, key)
    assert (code, lines, len(errors.splitlines())) == (1, [], 1)
    assert errors.endswith(f"; {hint}\n")
    assert "\x1b" not in errors


def test_slots_without_a_tag_of_the_image_are_shown(built: Built, tmp_path: Path, overwrite_labels: Any):
    copy = LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))
    with RecordReader(copy.rec_prefix(1)) as records:
        labels, image = records[0].labels.copy(), records[0].image
    overwrite_labels(copy, 1, [labels[0], float("nan"), 500000, 2.5, float("nan")])
    damage = [
        "slots 1, 4 contain nan, which is not a tag of the image; see `ovocr verify`",
        "slot 2 contains 500000, which is not a tag of the image; see `ovocr verify`",
        "slot 3 contains 2.5, which is not a tag of the image; see `ovocr verify`",
    ]
    for tag in ([], ["river"], ["fox"]):
        code, lines, _ = why(copy.root, "fox.jpg", *tag)
        assert (code, [line.strip() for line in lines if "not a tag of the image" in line]) == (0, damage)
    _, lines, _ = why(copy.root, "fox.jpg", "--json", "-")
    (story,) = json.loads("\n".join(lines))["images"]
    assert story["damage"] == damage
    assert [(foreign["holds"], foreign["slots"]) for foreign in story["foreign_slots"]] == [
        ("nan", [1, 4]),
        ("500000", [2]),
        ("2.5", [3]),
    ]
    with RecordWriter(copy.rec_prefix(1)) as writer:
        writer.write(0, labels[:1], image)
    assert explain(copy.root, "fox.jpg").stories[0].damage == [
        "the record has 1 slots instead of 5; see `ovocr verify`"
    ]
    assert explain(built[0].root, "fox.jpg").stories[0].damage == []


def test_packed_labels_come_from_the_table(members: list[tuple[str, bytes]], tar: Any, tmp_path: Path):
    table = pa.table({"key": ["a/fox.jpg", "b/many.PNG"], "labels": [[5, 3], [9, 8, 7, 6, 4]]})
    pq.write_table(table, tmp_path / "t.parquet")
    options = PackOptions(
        sources=(str(tar(tmp_path / "s.tar", members)),),
        out=tmp_path / "out",
        labels=str(tmp_path / "t.parquet"),
        workers=1,
        tags=4,
    )
    pack_labels(options, progress=False)
    (story,) = explain(options.out, "b/many.PNG").stories
    assert [(tag.id, tag.slots, tag.ranks) for tag in story.tags] == [
        (9, [0], [0]),
        (8, [1], [1]),
        (7, [2], [2]),
        (6, [3], [3]),
        (4, [], [4]),
    ]
    assert story.rule == "the first class ids of the table are kept"
    code, lines, _ = why(options.out, "b/many.PNG", "5")
    assert code == 0
    assert lines[-1] == "  the table has no class id 5 for the image"
    assert any(line.startswith("  note    class ids come from the packed table (sha256 ") for line in lines)
    assert story.tags[0].places == []
    (tag,) = explain(options.out, "b/many.PNG", "7").to_json()["images"][0]["tags"]
    assert (tag["line"], tag["box"], tag["place"], tag["places"]) == (None, None, None, [])
    make_old(options.out)
    assert why(options.out, "b/many.PNG", "5") == (code, lines, "")
    code, _, errors = why(options.out, "b/many.PNG", "fox")
    assert (code, errors) == (2, "ovocr: fox: a packed data set has no words; give a class id from 0 to 9\n")


def test_explanation_as_json(built: Built, tmp_path: Path):
    code, lines, _ = why(built[0].root, "b/many.PNG", "--json", "-")
    (image,) = json.loads("\n".join(lines))["images"]
    assert code == 0
    assert (image["key"], image["record_id"], image["competing"]) == ("b/many.PNG", 1, 6)
    stone = image["tags"][1]
    assert list(stone) == ["id", "word", "line", "box", "place", "places", "slots", "ranks", "weight"]
    assert (stone["line"], stone["place"]) == (0, 1)
    assert stone["places"] == [{"line": 0, "word": 1, "box": stone["box"], "box_origin": "columns"}]
    assert [line["text"] for line in image["lines"]] == ["river stone garden", "window lazy dog"]
    assert [tag["line"] for tag in image["tags"]] == [0, 0, 0, 1, 1, 1]
    assert image["lines"][0]["words"][0]["word"] == "river"
    why(built[0].root, "b/many.PNG", "--json", tmp_path / "f.json")
    assert json.loads((tmp_path / "f.json").read_text()) == {"images": [image], "left_out": []}


def test_all_places_are_in_the_json(built: Built):
    _, lines, _ = why(built[0].root, "a/fox.jpg", "the", "--json", "-")
    image = json.loads("\n".join(lines))["images"][0]
    (tag,) = image["tags"]
    stored = pq.read_table(built[0].records_path(0)).to_pylist()[0]["tags"]
    assert [place["box"] for place in tag["places"]] == [place["box"] for place in stored if place["id"] == 0]
    assert [(place["line"], place["word"]) for place in tag["places"]] == [(0, 0), (0, 4)]
    assert (tag["line"], tag["place"], tag["box"]) == (0, 0, stored[0]["box"])


def test_labelled_data_set_of_format_2_is_refused_in_one_line(built: Built, tmp_path: Path):
    root = make_old(Path(shutil.copytree(built[0].root, tmp_path / "copy"))).root
    assert why(root, "fox.jpg") == (1, [], f"ovocr: {OldFormatError(root)}\n")


def test_rows_are_found_in_several_row_groups(built: Built, tmp_path: Path):
    """Only images that were read have a row of text."""
    data_set = LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))
    (row,) = pq.read_table(data_set.records_path(1)).to_pylist()
    (text,) = pq.read_table(data_set.ocr_path(1)).to_pylist()
    lost = {**row, "status": "quarantined", "reason": "empty", "record_id": None, "tags": []}
    with RowWriter(data_set.records_path(1), RECORDS) as writer:
        for number in range(2500):
            writer.append({**(lost if number % 2 else row), "key": f"{number:05d}.jpg", "record_id": None})
    with RowWriter(data_set.ocr_path(1), pq.read_schema(data_set.ocr_path(1))) as writer:
        for number in range(0, 2500, 2):
            writer.append({**text, "key": f"{number:05d}.jpg", "width": number + 1})
    (story,) = explain(data_set.root, "02468.jpg").stories
    assert (story.row, story.size) == (2468, (2469, 90))
    (story,) = explain(data_set.root, "02469.jpg").stories
    assert (story.row, story.status, story.size) == (2469, "quarantined", None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda it: os.truncate(it.records_path(0), 200),
        lambda it: os.truncate(it.ocr_path(0), 200),
        lambda it: os.truncate(it.rec_prefix(0).with_suffix(".rec"), 200),
        lambda it: os.truncate(it.rec_prefix(0).with_suffix(".idx"), 0),
        lambda it: it.vocabulary_path.write_text("a\n"),
        lambda it: it.manifest_path.write_text("{}"),
        lambda it: shutil.copy(it.ocr_path(0), it.records_path(0)),
        lambda it: shutil.copy(it.ocr_path(1), it.ocr_path(0)),
        lambda it: (it.root / "records" / "00000.parquet").write_bytes(b""),
    ],
)
def test_error_of_a_damaged_data_set_is_one_line(built: Built, tmp_path: Path, damage: Any):
    copy = LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))
    damage(copy)
    code, lines, errors = why(copy.root, "b/many.PNG")
    assert (code, lines, len(errors.splitlines())) == (1, [], 1)
    assert str(copy.root) in errors


@pytest.mark.parametrize("kind", ["truncated", "missing", "pipe"])
def test_unreadable_shard_is_left_out_and_named(built: Built, tmp_path: Path, kind: str):
    copy = LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))
    damaged = copy.records_path(0)
    if kind == "truncated":
        os.truncate(damaged, 200)
    else:
        damaged.unlink()
    if kind == "pipe":
        os.mkfifo(damaged)
    expected = why(built[0].root, "fox.jpg")
    code, lines, errors = why(copy.root, "fox.jpg")
    assert (code, lines) == (0, expected[1])
    (line,) = errors.splitlines()
    assert line.startswith(f"ovocr: left out: {damaged}: cannot be read: ")
    code, lines, errors = why(copy.root, "fox.jpg", "--json", "-")
    value = json.loads("\n".join(lines))
    assert [f"ovocr: left out: {left_out}" for left_out in value["left_out"]] == errors.splitlines() == [line]
    code, lines, errors = why(copy.root, "b/many.PNG")
    assert (code, lines, len(errors.splitlines())) == (1, [], 1)
    assert f"no image in the readable shards has the key b/many.PNG; left out: {damaged}: cannot be" in errors


def test_image_with_unreadable_text_is_left_out(built: Built, tmp_path: Path):
    copy = LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))
    for path in (copy.records_path(1), copy.ocr_path(1)):
        table = pq.read_table(path)
        rows = [{**row, "key": "a/fox.jpg"} for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    os.truncate(copy.ocr_path(0), 200)
    explanation = explain(copy.root, "a/fox.jpg")
    assert [story.shard for story in explanation.stories] == [1]
    (left_out,) = explanation.left_out
    assert left_out.startswith(f"{copy.ocr_path(0)}: cannot be read: ")
    _, _, errors = why(copy.root, "b/many.PNG")
    assert errors.startswith(f"ovocr: {copy.ocr_path(0)}: cannot be read: ")


def test_text_of_an_image_is_escaped(built: Built, tmp_path: Path):
    copy = LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))
    table = pq.read_table(copy.ocr_path(1))
    rows = table.to_pylist()
    rows[0]["lines"][0]["text"] = "over the \x1b[31m lazy\u202e fox"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), copy.ocr_path(1))
    _, lines, _ = why(copy.root, "fox.jpg")
    assert not {"\x1b", "\u202e"} & set("".join(lines))
    assert any("\\x1b[31m lazy\\u202e fox" in line for line in lines)
