"""Tag policies of relabelled data sets, and the report of a relabelling run."""

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, RelabelOptions
from ovocr.labelgen.relabel.relabel import RelabelTotals, relabel
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.tagging.tag_slots import tag_slots
from ovocr.recordio import RecordReader
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_frequencies import WordFrequencies

Built = tuple[LabelledDataSet, Totals]


def relabel_to(source: Path, out: Path, **options: Any) -> RelabelTotals:
    return relabel(RelabelOptions(source=source, out=out, **options), progress=False)


def slots(root: Path, shard: int = 0) -> list[list[str]]:
    """Returns the words in each record's slots."""
    data_set = LabelledDataSet(root)
    vocabulary = Vocabulary.load(data_set.vocabulary_path)
    with RecordReader(data_set.rec_prefix(shard)) as reader:
        return [[vocabulary.word(int(label)) for label in record.labels] for record in reader]


def rec(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((root / "rec").iterdir())]


# Images of ``built`` with text: twice "the quick brown fox the fox", "river stone garden / window lazy dog",
# "violin quartz", "over the lazy fox", and a blank one.
FREQUENCIES = (
    "word\timages\n\t6\nfox\t3\nthe\t3\nbrown\t2\nlazy\t2\nquick\t2\n"
    "dog\t1\ngarden\t1\nover\t1\nriver\t1\nstone\t1\nwindow\t1\n"
)


def test_repeats_policy_fills_slots_with_repeated_words(built: Built, tmp_path: Path):
    relabel_to(built[0].root, tmp_path / "out", repeats=True, tags=8)
    found = slots(tmp_path / "out")
    assert found[0] == found[2] == ["the", "quick", "brown", "fox", "the", "fox", "the", "quick"]
    # The column of tags contains the distinct words.
    assert (tmp_path / "out" / "records" / "00000.parquet").read_bytes() == built[0].records_path(0).read_bytes()
    assert read_object(LabelledDataSet(tmp_path / "out").manifest_path)["options"] == {
        **{"tags": 8, "seed": 7, "shard_size": 10_000, "max_pixels": 50_000_000},
        "repeats": True,
    }


def test_repeats_policy_selects_words_if_there_are_too_few_slots(built: Built, tmp_path: Path):
    relabel_to(built[0].root, tmp_path / "out", repeats=True, tags=4, seed=3)
    ids = [0, 1, 2, 3, 0, 3]  # the quick brown fox the fox
    words = ["the", "quick", "brown", "fox"]
    assert slots(tmp_path / "out")[0] == [words[id] for id in tag_slots(ids, 4, 3, "a/fox.jpg")]


def test_idf_policy_counts_words_in_the_stored_text(built: Built, tmp_path: Path):
    out = tmp_path / "out"
    relabel_to(built[0].root, out, policy="idf", tags=2, seed=5)
    assert (out / "frequencies.tsv").read_text(encoding="utf-8") == FREQUENCIES
    manifest = read_object(LabelledDataSet(out).manifest_path)
    assert manifest["options"]["policy"] == "idf"
    sha256 = hashlib.sha256(FREQUENCIES.encode()).hexdigest()
    assert manifest["frequencies"] == {"images": 6, "words": 11, "sha256": sha256}
    weights = [math.log(7 / (1 + count)) + 1 for count in (3, 2, 2, 3)]  # the quick brown fox
    expected = tag_slots([0, 1, 2, 3], 2, 5, "a/fox.jpg", weights.__getitem__)
    assert slots(out)[0] == [["the", "quick", "brown", "fox"][id] for id in expected]


def test_policies_agree_if_there_are_enough_slots(built: Built, tmp_path: Path):
    relabel_to(built[0].root, tmp_path / "uniform", tags=9)
    relabel_to(built[0].root, tmp_path / "idf", policy="idf", tags=9)
    assert rec(tmp_path / "idf") == rec(tmp_path / "uniform")


def test_later_shards_use_the_first_counted_frequencies(built: Built, tmp_path: Path):
    growing, out = tmp_path / "growing", tmp_path / "out"
    shutil.copytree(built[0].root, growing)
    later = LabelledDataSet(growing).stats_path(1)
    stats = later.read_bytes()
    later.unlink()
    relabel_to(growing, out, policy="idf")
    counted = (out / "frequencies.tsv").read_text(encoding="utf-8")
    assert counted.startswith("word\timages\n\t5\nbrown\t2\nfox\t2\n")
    later.write_bytes(stats)
    assert relabel_to(growing, out, policy="idf").built == 1
    assert (out / "frequencies.tsv").read_text(encoding="utf-8") == counted


def test_build_labels_uses_the_frequencies_of_another_data_set(built: Built, options: BuildOptions, tmp_path: Path):
    relabel_to(built[0].root, tmp_path / "relabelled", policy="idf", tags=2, repeats=True)
    fresh = dataclasses.replace(options, out=tmp_path / "fresh", policy="idf", tags=2, repeats=True)
    with pytest.raises(UsageError, match=r"--policy idf: needs --idf FILE.*relabel afterwards"):
        build_labels(fresh, progress=False)
    assert not fresh.out.exists()
    build_labels(dataclasses.replace(fresh, idf=tmp_path / "relabelled" / "frequencies.tsv"), progress=False)
    assert rec(fresh.out) == rec(tmp_path / "relabelled")
    # The data set contains a copy. A different policy is refused.
    assert build_labels(fresh, progress=False).built == 0
    with pytest.raises(OvocrError, match="options.policy is 'idf' there, None in this run"):
        build_labels(dataclasses.replace(fresh, policy="uniform"), progress=False)


def test_report_contains_changes(built: Built, tmp_path: Path):
    Vocabulary(["fox", "violin", "the", "lazy"]).save(tmp_path / "v.txt")
    totals = relabel_to(built[0].root, tmp_path / "out", vocab=str(tmp_path / "v.txt"))
    changes = totals.to_json()["changes"]
    assert changes == {
        "images": 6,
        "gained_all": 1,
        "lost_all": 0,
        "same": 0,
        "compared": 5,
        # the quick brown fox (twice), river stone garden ..., violin quartz, over the lazy fox
        "mean_jaccard": round((2 / 4 + 2 / 4 + 1 / 6 + 0 + 3 / 4) / 5, 6),
        "before": {"ok": 4, "words_found": 24, "words_in_vocabulary": 22, "tags": 18},
        "after": {"ok": 5, "words_found": 24, "words_in_vocabulary": 13, "tags": 9},
        "gained": [{"word": "violin", "images": 1}],
        "lost": [
            *({"word": word, "images": 2} for word in ("brown", "quick")),
            *({"word": word, "images": 1} for word in ("dog", "garden", "over", "river", "stone", "window")),
        ],
    }
    text = totals.format().splitlines()
    assert "images that have tags only after: 1, only before: 0" in text
    assert "5 images have tags before or after, 0 of them the same tags; mean Jaccard 0.383" in text
    assert "most frequently gained tags, with images: violin 1" in text


def test_command_line(built: Built, tmp_path: Path):
    arguments = ["relabel", str(built[0].root), "--out", str(tmp_path / "out"), "--seed", "1", "--json", "-"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["input"], figures["ok"], figures["shards_built"], figures["shards_unfinished"]) == (8, 4, 2, 0)
    assert figures["changes"]["mean_jaccard"] == 1.0
    again = CliRunner().invoke(main, arguments[:-2])
    assert again.stdout.endswith("nothing to do: all shards are finished\n")
    other = CliRunner().invoke(main, [*arguments[:-2], "--repeats"])
    assert other.exit_code == 1
    assert other.stderr == (
        f"ovocr: {tmp_path / 'out'}: made with another configuration: options.repeats is None there, True in this run; "
        "repeat that configuration or choose another --out\n"
    )


def test_han_option_changes_the_segmentation(
    tmp_path: Path,
    options: BuildOptions,
    drawn: Callable[..., Image.Image],
    encoded: Callable[..., bytes],
    tar: Callable[..., Path],
):
    pytest.importorskip("opencc")
    source = tar(tmp_path / "one.tar", [("fox.jpg", encoded(drawn("quick fox")))])
    data_set = LabelledDataSet(tmp_path / "labels")
    build_labels(dataclasses.replace(options, sources=(str(source),), out=data_set.root), progress=False)
    table = pq.read_table(data_set.ocr_path(0))
    lines = [[{**line, "text": "圖書館 fox"} for line in image] for image in table["lines"].to_pylist()]
    pq.write_table(
        table.set_column(3, table.schema.field("lines"), [pa.array(lines, table["lines"].type)]), data_set.ocr_path(0)
    )
    Vocabulary(["图书馆"]).save(tmp_path / "v.txt")
    assert relabel_to(data_set.root, tmp_path / "as-read", vocab=str(tmp_path / "v.txt")).counts["ok"] == 0
    relabel_to(data_set.root, tmp_path / "simplified", vocab=str(tmp_path / "v.txt"), han="simplified")
    assert slots(tmp_path / "simplified") == [["图书馆"] * 5]
    # The vocabulary of the data set stores the setting.
    relabel_to(tmp_path / "simplified", tmp_path / "again")
    assert rec(tmp_path / "again") == rec(tmp_path / "simplified")


def test_idf_option_reads_frequencies_from_a_file(built: Built, tmp_path: Path):
    WordFrequencies(1000, {"the": 1000, "brown": 1}).save(tmp_path / "f.tsv")
    relabel_to(built[0].root, tmp_path / "out", policy="idf", idf=tmp_path / "f.tsv", tags=1)
    weights = [WordFrequencies.load(tmp_path / "f.tsv").weight(word) for word in ("the", "quick", "brown", "fox")]
    (expected,) = tag_slots([0, 1, 2, 3], 1, 7, "a/fox.jpg", weights.__getitem__)
    assert slots(tmp_path / "out")[0] == [["the", "quick", "brown", "fox"][expected]]
    assert (tmp_path / "out" / "frequencies.tsv").read_bytes() == (tmp_path / "f.tsv").read_bytes()
