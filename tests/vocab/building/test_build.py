"""Vocabulary building: compared with a Counter, for any order, workers and memory; options and errors."""

import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.base.files import locked
from ovocr.cli import main
from ovocr.dataset.holdout.rule import is_held_out
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.options import MAX_CLASSES
from ovocr.vocab import Segmentation, Vocabulary, segment_lines
from ovocr.vocab.building.build import build_vocabulary
from ovocr.vocab.building.options import LARGEST_SIZE, VocabularyOptions, out_path
from ovocr.vocab.count_merging import LEAST_MEMORY
from ovocr.vocab.vocabulary import description_path
from tests.manifests import make_manifest

WriteShard = Callable[..., None]
Images = list[list[str]]

# UTF-16 code units or a locale would sort these in a different order.
SYLLABLES = [
    *("a", "n", "e", "st", "zé", "ﬀ", "Ｂ", "µ", "\U0001d4d0", "\U00020000", "中", "文", "不", "не", "ひ", "l'o"),
    *("c++ ", "\x1b[31m", '"; --', "\u202e"),
]


def drawn_images(seed: int, count: int) -> Images:
    drawn = random.Random(seed)

    def line() -> str:
        return " ".join("".join(drawn.choices(SYLLABLES, k=drawn.randint(1, 4))) for _ in range(drawn.randint(1, 8)))

    return [[line() for _ in range(drawn.randint(0, 5))] for _ in range(count)]


def ranked(images: Images) -> list[str]:
    """Returns all words in the documented order."""
    tokens, in_images = Counter[str](), Counter[str]()
    for lines in images:
        words = segment_lines(lines)
        tokens.update(words)
        in_images.update(set(words))
    return sorted(tokens, key=lambda word: (-tokens[word], -in_images[word], word.encode()))


@pytest.fixture(scope="module")
def shards() -> list[Images]:
    return [drawn_images(seed, 40) for seed in range(6)]


@pytest.fixture
def options(tmp_path: Path, write_shard: WriteShard, shards: list[Images]) -> VocabularyOptions:
    """Returns options for two data sets with four and two shards."""
    for number, images in enumerate(shards):
        write_shard(tmp_path / "ab"[number // 4], number % 4, images)
    return VocabularyOptions(data_sets=(tmp_path / "a", tmp_path / "b"), out=tmp_path / "v.txt", workers=1)


def files_of(path: Path) -> tuple[bytes, bytes]:
    return path.read_bytes(), path.with_name(path.name + ".json").read_bytes()


def test_words_and_counts_match_a_counter(options: VocabularyOptions, shards: list[Images]) -> None:
    images = [lines for shard in shards for lines in shard]
    expected = ranked(images)
    assert len(expected) > 200
    report = build_vocabulary(options)
    assert options.out.read_text(encoding="utf-8") == "".join(f"{word}\n" for word in expected)
    vocabulary = Vocabulary.load(options.out)
    words = [word for lines in images for word in segment_lines(lines)]
    counts = vocabulary.settings["counts"]
    assert counts["images"] == len(images) == 240
    assert counts["images_without_text"] == sum(not lines for lines in images) > 0
    assert (counts["tokens"], counts["distinct_words"], counts["token_coverage"]) == (len(words), len(expected), 1.0)
    assert (len(vocabulary), report.vocabulary.sha256) == (len(expected), vocabulary.sha256)
    assert Segmentation.of(vocabulary.settings) == Segmentation()
    assert sorted(path.name for path in options.out.parent.iterdir()) == ["a", "b", "v.txt", "v.txt.json"]


def test_size_min_count_and_drop_lists_leave_words_out(options: VocabularyOptions, shards: list[Images]) -> None:
    words = [word for shard in shards for lines in shard for word in segment_lines(lines)]
    tokens = Counter(words)
    all_words = ranked([lines for shard in shards for lines in shard])
    (options.out.parent / "drop.txt").write_text(f"{all_words[1].upper()}\n\n{all_words[7]}\nnever\n", encoding="utf-8")
    left = [word for word in all_words if word not in (all_words[1], all_words[7]) and tokens[word] >= 3]
    assert len(left) > 60
    build_vocabulary(replace(options, size=50, min_count=3, drop_lists=(options.out.parent / "drop.txt",)))
    vocabulary = Vocabulary.load(options.out)
    assert [vocabulary.word(id) for id in range(len(vocabulary))] == left[:50]
    counts = vocabulary.settings["counts"]
    rare = [word for word in all_words if tokens[word] < 3]
    for name, group in (
        ("dropped", [all_words[1], all_words[7]]),
        ("below_min_count", rare),
        ("beyond_size", left[50:]),
        ("kept", left[:50]),
    ):
        assert counts[name] == {"distinct": len(group), "tokens": sum(tokens[word] for word in group)}, name
    assert counts["token_coverage"] == round(sum(tokens[word] for word in left[:50]) / len(words), 6)
    assert counts["tokens_of_last"] == tokens[left[49]]
    assert vocabulary.settings["options"]["drop"]["words"] == 3


def test_held_out_images_are_not_counted(options: VocabularyOptions, shards: list[Images]) -> None:
    """The keys of each shard's images are 0.jpg, 1.jpg ..."""
    kept = [lines for shard in shards for n, lines in enumerate(shard) if not is_held_out(f"{n}.jpg", 0.2)]
    assert 0 < 240 - len(kept) < 120
    report = build_vocabulary(replace(options, holdout=0.2))
    vocabulary = Vocabulary.load(options.out)
    assert [vocabulary.word(id) for id in range(len(vocabulary))] == ranked(kept)
    assert vocabulary.settings["options"]["holdout"] == report.to_json()["holdout"] == 0.2
    counts = vocabulary.settings["counts"]
    assert (counts["images"], counts["images_held_out"]) == (len(kept), 240 - len(kept))
    assert f"images held out {240 - len(kept)}" in " ".join(report.format_table().split())


def test_description_without_holdout_does_not_mention_it(options: VocabularyOptions) -> None:
    report = build_vocabulary(options)
    description = description_path(options.out).read_text(encoding="utf-8")
    assert "held_out" not in description
    assert "holdout" not in description
    assert "held out" not in report.format_table()


def test_ties_are_ordered_by_images_then_bytes(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "a", 0, [["zz zz \U00020000 b"], ["\uff5a\uff59 b"]])
    write_shard(tmp_path / "a", 1, [["a", "zy \U00020000"], ["é"]])
    build_vocabulary(VocabularyOptions(data_sets=(tmp_path / "a",), out=tmp_path / "v", workers=1))
    assert (tmp_path / "v").read_text(encoding="utf-8").split() == ["b", "zy", "\U00020000", "zz", "a", "é"]


def test_size_cuts_ties_in_order(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "a", 0, [["d c b a e e"]])
    build_vocabulary(VocabularyOptions(data_sets=(tmp_path / "a",), out=tmp_path / "v", size=3, workers=1))
    assert (tmp_path / "v").read_text(encoding="utf-8").split() == ["e", "a", "b"]


def test_files_do_not_depend_on_order_workers_or_memory(
    options: VocabularyOptions, shards: list[Images], tmp_path: Path, write_shard: WriteShard
) -> None:
    build_vocabulary(replace(options, size=200))
    expected = files_of(options.out)
    for number, images in enumerate(shards):  # the images in other shards and in a different order
        write_shard(tmp_path / "ba"[number % 2] / "permuted", 3 - number // 2 if number % 2 else number, images)
    # The JSON file names data sets by their number of shards: four and two, as before.
    (tmp_path / "b" / "permuted" / "stats" / "00000.json").unlink()
    write_shard(tmp_path / "a" / "permuted", 9, shards[0])
    permuted = (tmp_path / "a" / "permuted", tmp_path / "b" / "permuted")
    for change in (
        replace(options, data_sets=options.data_sets[::-1]),
        replace(options, workers=2, memory=LEAST_MEMORY),
        replace(options, data_sets=permuted, memory=LEAST_MEMORY),
    ):
        out = tmp_path / "again.txt"
        build_vocabulary(replace(change, size=200, out=out, force=True))
        assert files_of(out) == expected


def test_simplified_segmentation_folds_characters(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "a", 0, [["乾淨"], ["干净"]])
    options = VocabularyOptions(data_sets=(tmp_path / "a",), out=tmp_path / "v", workers=1)
    build_vocabulary(options)
    assert sorted((tmp_path / "v").read_text(encoding="utf-8").split()) == ["乾淨", "干净"]
    build_vocabulary(replace(options, segmentation=Segmentation(han="simplified"), force=True))
    vocabulary = Vocabulary.load(tmp_path / "v")
    assert [vocabulary.word(id) for id in range(len(vocabulary))] == ["干净"]
    assert Segmentation.of(vocabulary.settings) == Segmentation(han="simplified")


def test_json_names_data_sets_by_manifest_hash(options: VocabularyOptions) -> None:
    paths = [LabelledDataSet(root).manifest_path for root in options.data_sets]
    make_manifest(["other.tar"], vocabulary=Vocabulary(["word"])).write(paths[1])
    build_vocabulary(options)
    source = json.loads(files_of(options.out)[1])["source"]
    hashes = {shards: hashlib.sha256(path.read_bytes()).hexdigest() for shards, path in zip((4, 2), paths, strict=True)}
    assert {entry["shards"]: entry["manifest_sha256"] for entry in source} == hashes
    assert str(options.out.parent) not in files_of(options.out)[1].decode()


def test_existing_vocabulary_is_kept_without_force(options: VocabularyOptions) -> None:
    options.out.write_text("old\n")
    with pytest.raises(OvocrError, match=r"v\.txt exists; choose another --out, or replace it with --force"):
        build_vocabulary(options)
    assert options.out.read_text() == "old\n"
    build_vocabulary(replace(options, force=True))
    assert Vocabulary.load(options.out).id("old") is None


def test_description_without_vocabulary_is_that_of_an_interrupted_build(options: VocabularyOptions) -> None:
    build_vocabulary(options)
    options.out.unlink()
    build_vocabulary(options)
    options.out.unlink()
    description_path(options.out).write_text('{"size": 3}')
    with pytest.raises(OvocrError, match=r"v\.txt\.json exists"):
        build_vocabulary(options)
    assert description_path(options.out).read_text() == '{"size": 3}'


def test_data_set_without_words_is_refused(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "a", 0, [["12.50"], []])
    options = VocabularyOptions(data_sets=(tmp_path / "a",), out=tmp_path / "v", workers=1)
    with pytest.raises(OvocrError, match=r"/a: no word in the stored text of 2 images"):
        build_vocabulary(options)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_options_that_leave_no_word_are_refused(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path / "a", 0, [["one two two"]])
    (tmp_path / "drop").write_text("two\n")
    options = VocabularyOptions(data_sets=(tmp_path / "a",), out=tmp_path / "v", min_count=2, workers=1)
    with pytest.raises(
        OvocrError, match=r"no word is left of 2 distinct words: 1 on --drop lists, 1 below --min-count 2"
    ):
        build_vocabulary(replace(options, drop_lists=(tmp_path / "drop",)))


def test_broken_shard_leaves_no_files(options: VocabularyOptions) -> None:
    LabelledDataSet(options.data_sets[1]).ocr_path(1).write_bytes(b"x")
    with pytest.raises(OvocrError, match="00001.parquet: cannot be read"):
        build_vocabulary(options)
    assert sorted(path.name for path in options.out.parent.iterdir()) == ["a", "b"]


def test_two_builds_of_one_vocabulary_are_refused(options: VocabularyOptions) -> None:
    other = options.out.with_name("v.txt.building") / "lock"
    with (
        locked(other, ""),
        pytest.raises(OvocrError, match=r"v\.txt: another process builds this vocabulary: .*, process \d+"),
    ):
        build_vocabulary(options)
    assert not options.out.exists()


def test_missing_duckdb_is_reported_first(options: VocabularyOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[vocab\]'"):
        build_vocabulary(options)
    assert sorted(path.name for path in options.out.parent.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "--size 0: must be from 1 to 16777216"),
        ({"size": LARGEST_SIZE + 1}, "--size 16777217: must be from 1 to 16777216"),
        ({"min_count": 0}, "--min-count 0: must be at least 1"),
        ({"workers": 0}, "--workers 0: must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VocabularyOptions(data_sets=(tmp_path,), out=tmp_path / "v", **change)  # type: ignore[arg-type]
    assert LARGEST_SIZE == MAX_CLASSES


@pytest.mark.parametrize("name", ["lexicon", "-"])
def test_out_path_refuses_reserved_names(name: str) -> None:
    with pytest.raises(UsageError, match=f"--out {name}: "):
        out_path(name)
    assert out_path(f"./{name}") == Path(name)


def test_command_writes_vocabulary_json_and_table(options: VocabularyOptions) -> None:
    root, out = options.data_sets[0].parent, options.out
    arguments = ["vocab", "build", *map(str, options.data_sets), "--out", str(out), "--workers", "1"]
    result = CliRunner().invoke(main, [*arguments, "--size", "12", "--json", str(root / "r.json")])
    assert (result.exit_code, result.stderr) == (0, "")
    figures = json.loads((root / "r.json").read_text())
    vocabulary = Vocabulary.load(out)
    assert (figures["size"], figures["sha256"], figures["out"]) == (12, vocabulary.sha256, str(out))
    assert [entry["word"] for entry in figures["first"]] == [vocabulary.word(id) for id in range(10)]
    assert [entry["word"] for entry in figures["last"]] == [vocabulary.word(id) for id in range(2, 12)]
    assert figures["last"][-1]["tokens"] == figures["tokens_of_last"]
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["distinct", "read"]
    assert lines[-1] == f"{out}: 12 words, sha256 {vocabulary.sha256}"
    assert "first words" in lines[-3]
    assert "Fewer words than" not in result.stdout
    assert json.loads(files_of(out)[1])["counts"].items() <= figures.items()
    result = CliRunner().invoke(main, [*arguments, "--force", "--json", "-"])
    assert json.loads(result.stdout)["size"] == figures["distinct_words"]


def test_table_shows_words_left_out(options: VocabularyOptions) -> None:
    (options.out.parent / "drop").write_text("a\nnever\n")
    report = build_vocabulary(replace(options, min_count=2, drop_lists=(options.out.parent / "drop",)))
    rows = {line[:34].strip(): line[34:].split() for line in report.format_table().splitlines()[1:8]}
    counts = report.to_json()
    for name, label in (("dropped", "dropped, of 2 listed"), ("below_min_count", "rarer than 2"), ("kept", "kept")):
        share = counts[name]["tokens"] / counts["tokens"]
        assert rows[label] == [f"{counts[name]['distinct']:,}", f"{counts[name]['tokens']:,}", f"{share:.1%}"]
    assert "Fewer words than --size 365,187: the corpus has no more." in report.format_table()
