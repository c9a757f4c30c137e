"""Whole builds with the real engine and real worker processes."""

import hashlib
import io
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.images.stored_image import store_image
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.tagging.tag_slots import tag_slots
from ovocr.recordio import RecordReader
from ovocr.vocab import Vocabulary
from tests.labelgen.data_sets import FILES, Built, again, digests, rows


def test_every_image_has_a_row_with_its_status(built: Built, options: BuildOptions):
    data_set, _ = built
    records = rows(data_set.records_path(0))
    assert [(row["key"], row["status"], row["reason"], row["record_id"]) for row in records] == [
        ("a/fox.jpg", "ok", None, 0),
        ("a/blank.png", "dropped", "no-text", None),
        ("b/many.PNG", "ok", None, 1),
        ("b/unknown.png", "dropped", "no-word-in-vocabulary", None),
        ("b/cut.jpg", "quarantined", "truncated", None),
        ("a/fox.jpg", "ok", None, 2),
        ("b/zero.jpg", "quarantined", "empty", None),
    ]
    assert {row["source"] for row in records} == {options.sources[0]}
    assert [bool(row["detail"]) for row in records] == [False, False, False, False, True, False, True]
    # the quick brown fox the fox: six places of four words
    assert (records[0]["words_found"], records[0]["words_in_vocabulary"]) == (6, 6)
    assert [place["id"] for place in records[0]["tags"]] == [0, 1, 2, 3, 0, 3]
    assert (records[3]["words_found"], records[3]["words_in_vocabulary"], records[3]["tags"]) == (2, 0, [])


def test_columns_match_the_format(built: Built):
    data_set, _ = built
    box = pa.list_(pa.float32(), 8)
    ocr = pq.read_schema(data_set.ocr_path(0))
    assert ocr.names == ["key", "width", "height", "lines"]
    line = ocr.field("lines").type.value_type
    assert [(field.name, field.type) for field in line] == [
        ("text", pa.string()),
        ("score", pa.float32()),
        ("box", box),
        ("edges", pa.list_(pa.float32())),
    ]
    records = pq.read_schema(data_set.records_path(0))
    assert records.names == [
        *("source", "key", "status", "reason", "detail", "record_id"),
        *("words_found", "words_in_vocabulary", "tags"),
    ]
    tag = records.field("tags").type.value_type
    assert [(field.name, field.type) for field in tag] == [("id", pa.int32()), ("line", pa.int32()), ("box", box)]


def test_records_contain_the_stored_image_and_the_tag_slots(
    built: Built, options: BuildOptions, members: list[tuple[str, bytes]]
):
    data_set, _ = built
    vocabulary = Vocabulary.load(data_set.vocabulary_path)
    with RecordReader(data_set.rec_prefix(0)) as reader:
        records = [reader[number] for number in range(len(reader))]
    assert [record.id for record in records] == [0, 1, 2]
    assert records[0].image == members[0][1]  # a plain JPEG: its own bytes
    assert records[1].image == store_image(members[3][1], options.max_pixels).jpeg
    words = [[vocabulary.word(int(label)) for label in record.labels] for record in records]
    assert words[0] == words[2] == ["the", "quick", "brown", "fox", "the"]
    many = ["river", "stone", "garden", "window", "lazy", "dog"]
    ids = [vocabulary.id(word) for word in many]
    assert len(set(words[1])) == 5
    assert records[1].labels.tolist() == tag_slots(ids, 5, seed=7, key="b/many.PNG")
    assert records[0].labels.dtype == np.float32


def test_ocr_has_a_row_for_each_image_that_was_read(built: Built):
    data_set, _ = built
    read = rows(data_set.ocr_path(0))
    assert [row["key"] for row in read] == ["a/fox.jpg", "a/blank.png", "b/many.PNG", "b/unknown.png", "a/fox.jpg"]
    assert [(row["width"], row["height"]) for row in read[:3]] == [(420, 90), (80, 60), (420, 120)]
    assert [line["text"] for line in read[0]["lines"]] == ["the quick brown fox the fox"]
    assert read[1]["lines"] == []


def test_tags_point_at_their_words(built: Built):
    data_set, _ = built
    row, read = rows(data_set.records_path(0))[2], rows(data_set.ocr_path(0))[2]
    vocabulary = Vocabulary.load(data_set.vocabulary_path)
    assert [vocabulary.word(tag["id"]) for tag in row["tags"]] == ["river", "stone", "garden", "window", "lazy", "dog"]
    assert [tag["line"] for tag in row["tags"]] == [0, 0, 0, 1, 1, 1]
    line, stone = read["lines"][0], row["tags"][1]
    assert line["text"] == "river stone garden"
    assert len(line["edges"]) == len(line["text"]) + 1
    left, top, right, _, _, bottom, _, _ = line["box"]
    # "stone" is characters 6 to 11. Its box is 0.07 of the height longer at each end, and an eighth of it thinner.
    height, (start, end) = bottom - top, (left + line["edges"][edge] * (right - left) for edge in (6, 11))
    assert stone["box"][0] == pytest.approx(start - 0.07 * height, abs=0.02)
    assert stone["box"][2] == pytest.approx(end + 0.07 * height, abs=0.02)
    assert (stone["box"][1], stone["box"][5]) == pytest.approx((top + height / 8, bottom - height / 8), abs=0.02)


def test_boxes_of_words_contain_their_ink_and_no_ink_of_their_neighbours(built: Built):
    """The words are in one line with spaces of about 8 pixels."""
    data_set, _ = built
    with RecordReader(data_set.rec_prefix(0)) as reader:
        pixels = np.asarray(Image.open(io.BytesIO(reader[0].image)).convert("L"))
    ink = np.flatnonzero((pixels < 128).any(axis=0))
    gaps = np.flatnonzero(np.diff(ink) > 6)
    starts, ends = [ink[0], *ink[gaps + 1]], [*ink[gaps], ink[-1]]
    boxes = [place["box"] for place in rows(data_set.records_path(0))[0]["tags"]]
    assert len(starts) == len(boxes) == 6
    for box, start, end in zip(boxes, starts, ends, strict=True):
        assert start - 6 < box[0] <= start
        assert end <= box[2] < end + 6
    assert all(box[2] < following[0] for box, following in pairwise(boxes))


def test_counts_add_up(built: Built):
    data_set, totals = built
    stats = read_object(data_set.stats_path(0))
    assert {name: stats[name] for name in ("input", "ok", "dropped", "quarantined", "ignored")} == {
        **{"input": 7, "ok": 3, "dropped": 2, "quarantined": 2, "ignored": 1}
    }
    assert stats["reasons"] == {"empty": 1, "no-text": 1, "no-word-in-vocabulary": 1, "truncated": 1}
    assert (stats["lines"], stats["words_found"], stats["words_in_vocabulary"], stats["tags"]) == (5, 20, 18, 14)
    report = totals.to_json()
    assert (report["input"], report["ok"], report["shards"], report["shards_built"]) == (8, 4, 2, 2)
    assert report["images_per_s"] > 0
    assert totals.format().startswith("8 images in 2 shards: 4 ok, 2 dropped, 2 quarantined; 1 other file ignored\n")


def test_the_manifest_is_configuration_only(built: Built, options: BuildOptions, vocabulary: Path):
    manifest = read_object(built[0].manifest_path)
    assert manifest["options"] == {"tags": 5, "seed": 7, "shard_size": 10_000, "max_pixels": 50_000_000}
    assert manifest["shards"] == [
        {"source": source, "kind": "tar", "size": os.path.getsize(source)} for source in options.sources
    ]
    sha256 = hashlib.sha256(vocabulary.read_bytes()).hexdigest()
    assert manifest["vocabulary"] == {"size": 12, "sha256": sha256}
    assert built[0].vocabulary_path.read_bytes() == vocabulary.read_bytes()
    assert manifest["engine"]["name"] == "rapidocr"
    assert {"ovocr", "pillow", "opencv", "jieba", "pyarrow"} <= set(manifest["versions"])
    assert {"rapidocr", "onnxruntime"} == set(manifest["engine"]["versions"])


def test_a_data_set_has_only_the_files_of_the_format(built: Built):
    files = sorted(path.relative_to(built[0].root).as_posix() for path in built[0].root.rglob("*") if path.is_file())
    shards = [f"{kind}/{n:05d}.{end}" for kind, end in FILES for n in range(2)]
    assert files == sorted([*shards, "manifest.json", "vocab.txt", "vocab.txt.json"])


def test_two_workers_give_the_same_bytes_as_one(built: Built, options: BuildOptions, tmp_path: Path):
    build_labels(again(options, out=tmp_path / "two", workers=2), progress=False)
    assert digests(tmp_path / "two") == digests(built[0].root)


def test_slices_together_give_the_same_bytes(built: Built, options: BuildOptions, tmp_path: Path):
    out = tmp_path / "sliced"
    second = build_labels(again(options, out=out, shard_slice=(1, 2)), progress=False)
    assert (second.shards, second.counts["input"]) == (1, 1)
    assert LabelledDataSet(out).finished_shards() == [1]
    build_labels(again(options, out=out, shard_slice=(0, 2)), progress=False)
    assert digests(out) == digests(built[0].root)


def test_more_workers_than_cores_are_not_started(
    built: Built, options: BuildOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
):
    monkeypatch.setattr("ovocr.labelgen.shards.worker_count.available_cores", lambda: 1)
    out = tmp_path / "capped"
    build_labels(again(options, sources=options.sources[1:], out=out, workers=64), progress=False)
    stderr = capsys.readouterr().err
    assert stderr == "ovocr: --workers 64: this process may use 1 core; starting 1 worker of one thread\n"


def test_an_empty_vocabulary_is_refused(options: BuildOptions, tmp_path: Path):
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(OvocrError, match=r"empty\.txt"):
        build_labels(again(options, out=tmp_path / "out", vocab=str(tmp_path / "empty.txt")), progress=False)
    assert not (tmp_path / "out").exists()


def test_vocabulary_words_that_never_occur_are_refused(options: BuildOptions, tmp_path: Path):
    (tmp_path / "v.txt").write_text("fine\nCAFÉ\n")
    with pytest.raises(UsageError, match=r"v.txt: line 2: 'CAFÉ' never occurs; write it 'café'"):
        build_labels(again(options, out=tmp_path / "out", vocab=str(tmp_path / "v.txt")), progress=False)


def test_all_web_images_are_counted(shared_data: Path, tmp_path: Path, vocabulary: Path):
    source = shared_data / "web"
    options = BuildOptions(sources=(str(source),), out=tmp_path / "web", vocab=str(vocabulary))
    totals = build_labels(options, progress=False)
    files = sorted(os.listdir(source))
    data_set = LabelledDataSet.open(options.out)
    records = rows(data_set.records_path(0))
    assert sorted(row["key"] for row in records) == files
    statuses = Counter(row["status"] for row in records)
    assert totals.counts["input"] == len(files) == sum(statuses.values())
    assert statuses["quarantined"] == 0
    texts = {row["key"]: [line["text"] for line in row["lines"]] for row in rows(data_set.ocr_path(0))}
    for name in ("black_font_color_transparent", "white_font_color_transparent"):
        assert texts[f"{name}.png"] == ["我是中国人"]
    assert texts["img_exif_orientation.jpg"] == ["我是中国人"]
    assert texts["empty_black.jpg"] == []


def test_a_usage_error_is_raised_before_anything_is_written(options: BuildOptions, tmp_path: Path):
    for change in ({"engine": "tesseract"}, {"sources": ("nowhere.tar",)}, {"model_dir": tmp_path}):
        with pytest.raises(UsageError):
            build_labels(again(options, out=tmp_path / "out", **change), progress=False)
    assert not (tmp_path / "out").exists()


def test_without_the_ocr_extra_the_error_names_the_install_command(options: BuildOptions, tmp_path: Path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "for name in ('rapidocr', 'onnxruntime', 'cv2', 'PIL', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "from ovocr.base.errors import MissingExtraError\n"
        "from ovocr.labelgen.build import build_labels\n"
        "from ovocr.labelgen.options import BuildOptions\n"
        "try:\n"
        f"    build_labels(BuildOptions(sources={options.sources!r}, out=Path({str(tmp_path / 'out')!r})), False)\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == (
        "--engine rapidocr needs packages that are not installed; "
        "install the extra \"ocr\": pip install '.[ocr]' in a checkout of ovocr\n"
    )
