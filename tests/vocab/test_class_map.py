"""Class maps between two vocabularies: matching, files, report and command."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovocr.base.errors import OvocrError
from ovocr.cli import main
from ovocr.vocab import Segmentation, Vocabulary
from ovocr.vocab.class_map import ClassMap
from ovocr.vocab.class_map_report import LISTED, ClassMapReport


def vocabulary(words: str, *, simplified: bool = False) -> Vocabulary:
    """Returns a vocabulary of words separated by spaces."""
    settings = {"segmenter": {"han": "simplified"}} if simplified else {}
    return Vocabulary(words.split(), settings)


def old_ids(old: Vocabulary, new: Vocabulary) -> list[int]:
    return ClassMap.between(old, new).old_ids.tolist()


def test_equal_words_keep_their_class() -> None:
    old, new = vocabulary("the 北京 don't bye"), vocabulary("don't new 北京 the 词")
    assert old_ids(old, new) == [2, -1, 1, 0, -1]
    assert ClassMap.between(old, new).kept == 3
    assert old_ids(old, old) == [0, 1, 2, 3]
    assert old_ids(vocabulary("a"), vocabulary("b c")) == [-1, -1]


@pytest.mark.parametrize(
    ("old", "old_simplified", "new", "new_simplified", "expected"),
    [
        # A simplified word maps to the old word with the same simplified form and the smallest id.
        ("臺灣 the 台湾 圖書", False, "台湾 图书 the 新", True, [0, 3, 1, -1]),
        ("台湾 the 臺灣", False, "台湾 the", True, [0, 1]),
        # Several new words map to the one old class.
        ("台湾 the 图书", True, "臺灣 台湾 the 圖書 新", False, [0, 0, 1, 2, -1]),
        # Nothing is folded if both vocabularies have the same form.
        ("臺灣 台湾", False, "台湾", False, [1]),
        ("臺灣", False, "台湾", False, [-1]),
        ("臺灣", True, "台湾", True, [-1]),
    ],
)
def test_words_of_folded_vocabularies(
    old: str, old_simplified: bool, new: str, new_simplified: bool, expected: list[int]
) -> None:
    pytest.importorskip("opencc", reason="the extra vocab, which folds traditional characters, is not installed")
    vocabularies = vocabulary(old, simplified=old_simplified), vocabulary(new, simplified=new_simplified)
    assert [Segmentation.of(each.settings).han == "simplified" for each in vocabularies] == [
        old_simplified,
        new_simplified,
    ]
    assert old_ids(*vocabularies) == expected


def test_save_writes_an_array_that_load_reads(tmp_path: Path) -> None:
    old, new, path = vocabulary("a b c"), vocabulary("c x a"), tmp_path / "map.npy"
    ClassMap.between(old, new).save(path)
    array = np.load(path)
    assert (array.dtype, array.tolist()) == (np.int32, [2, -1, 0])
    assert json.loads((tmp_path / "map.npy.json").read_text()) == {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "old": {"size": 3, "sha256": hashlib.sha256(b"a\nb\nc\n").hexdigest()},
        "new": {"size": 3, "sha256": hashlib.sha256(b"c\nx\na\n").hexdigest()},
    }
    loaded = ClassMap.load(str(path))
    assert (loaded.old_ids.dtype, loaded.old_ids.tolist()) == (np.int64, [2, -1, 0])
    assert loaded.old is not None
    assert loaded.new is not None
    assert (loaded.old.size, loaded.old.sha256, loaded.new.sha256) == (3, old.sha256, new.sha256)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.npy", "map.npy.json"]


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.uint64, ">i8"])
def test_load_accepts_an_array_without_json(tmp_path: Path, dtype: Any) -> None:
    np.save(tmp_path / "map.npy", np.array([3, 0], dtype))
    loaded = ClassMap.load(tmp_path / "map.npy")
    assert (loaded.old_ids.tolist(), loaded.old, loaded.new, loaded.kept) == ([3, 0], None, None, 2)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2), np.int32), r"expected an array \[classes\] of whole numbers, found \[2, 2\] of int32"),
        (np.zeros(3), r"expected an array \[classes\] of whole numbers, found \[3\] of float64"),
        (np.array([True]), r"found \[1\] of bool"),
        (np.array([0, -2]), "-2 is neither a class id nor -1"),
        (np.array([2**63], np.uint64), f"{2**63} is neither a class id nor -1"),
        (np.array([2**31]), f"{2**31} is neither a class id nor -1"),
    ],
)
def test_load_refuses_other_arrays(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "map.npy", array)
    with pytest.raises(OvocrError, match=f"map.npy: not a class map: .*{message}"):
        ClassMap.load(tmp_path / "map.npy")


class Trap:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("sprung", "w")


def test_load_refuses_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "map.npy"
    with pytest.raises(OvocrError, match="map.npy: the class map cannot be read: No such file or directory"):
        ClassMap.load(path)
    path.write_bytes(b"0 1 2\n")
    with pytest.raises(OvocrError, match=r"map.npy: not a class map of `ovocr vocab map` \(.npy\): "):
        ClassMap.load(path)
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(OvocrError, match=r"map.npy: not a class map of `ovocr vocab map` \(.npy\): .*object"):
        ClassMap.load(path)
    assert not (tmp_path / "sprung").exists()
    np.save(path, np.arange(1000))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(OvocrError, match=r"map.npy: not a class map of `ovocr vocab map` \(.npy\): "):
        ClassMap.load(path)


def test_load_refuses_a_header_with_a_false_size(tmp_path: Path) -> None:
    np.save(tmp_path / "map.npy", np.arange(10_000, dtype=np.int32))
    data = (tmp_path / "map.npy").read_bytes().replace(b"(10000,)", b"(10**9,)")
    (tmp_path / "map.npy").write_bytes(data)
    with pytest.raises(OvocrError, match="map.npy: not a class map of"):
        ClassMap.load(tmp_path / "map.npy")
    (tmp_path / "map.npy").write_bytes(data.replace(b"(10**9,)", b"(9999999999,)".ljust(8)))
    with pytest.raises(OvocrError, match="map.npy: not a class map of"):
        ClassMap.load(tmp_path / "map.npy")


def test_load_refuses_a_file_that_its_json_does_not_describe(tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    ClassMap.between(vocabulary("a b"), vocabulary("b a")).save(path)
    np.save(path, np.array([0, 1], np.int32))
    with pytest.raises(
        OvocrError, match=r"map.npy: not the class map that .*map.npy.json describes; run `ovocr vocab map` again"
    ):
        ClassMap.load(path)


@pytest.mark.parametrize("stamp", [[], {"size": 2}, {"size": "2", "sha256": "x"}, {"size": 2, "sha256": 5}])
def test_load_refuses_json_without_a_vocabulary_stamp(tmp_path: Path, stamp: Any) -> None:
    path = tmp_path / "map.npy"
    ClassMap.between(vocabulary("a b"), vocabulary("b a")).save(path)
    described = tmp_path / "map.npy.json"
    described.write_text(json.dumps({**json.loads(described.read_text()), "new": stamp}))
    with pytest.raises(OvocrError, match="map.npy.json: new: expected size and sha256 of a vocabulary"):
        ClassMap.load(path)


def test_report_counts_classes_of_both_vocabularies() -> None:
    old = Vocabulary([f"w{number}" for number in range(50)])
    new = Vocabulary([*(f"n{number}" for number in range(30)), *(f"w{number}" for number in range(0, 20, 2))])
    report = ClassMapReport.of(ClassMap.between(old, new), old, new, names=("old.txt", "new\x1b[2J.txt"))
    assert (report.kept, report.folded, report.added, report.gone) == (10, 0, 30, 40)
    assert (report.kept_share, report.added_share, report.gone_share) == (0.25, 0.75, 0.8)
    assert report.added_words == tuple((number, f"n{number}") for number in range(LISTED))
    assert report.gone_words[:3] == ((1, "w1"), (3, "w3"), (5, "w5"))
    assert report.to_json()["gone_words"][0] == {"id": 1, "word": "w1"}
    assert report.to_json()["new"] == {"name": "new\x1b[2J.txt", "size": 40, "sha256": new.sha256}
    lines = report.format().splitlines()
    assert [line.split() for line in lines[:7]] == [
        ["old", "vocabulary", "old.txt", "50"],
        ["gone", "40", "80.0%"],
        ["new", "vocabulary", "new\\x1b[2J.txt", "40"],
        ["kept", "10", "25.0%"],
        ["spelled", "differently", "before", "0", "0.0%"],
        ["new", "words", "30", "75.0%"],
        ["new", "words,", "by", "class", "id"],
    ]
    assert len(lines) == 6 + 1 + LISTED + 1 + LISTED


def run(*arguments: str) -> None:
    main(["vocab", "map", *arguments], standalone_mode=False)


def test_command_writes_map_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("opencc", reason="the extra vocab, which folds traditional characters, is not installed")
    old, new, out = (str(tmp_path / name) for name in ("old.txt", "new.txt", "map.npy"))
    vocabulary("臺灣 the 台湾 bye").save(old)
    vocabulary("the 台湾 新", simplified=True).save(new)
    run(old, new, "--out", out, "--json", "-")
    figures = json.loads(capsys.readouterr().out)
    assert ClassMap.load(out).old_ids.tolist() == [1, 0, -1]
    assert (figures["kept"], figures["folded"], figures["added"], figures["gone"]) == (2, 1, 1, 2)
    assert figures["folded_words"] == [{"id": 1, "word": "台湾", "old_id": 0, "old_word": "臺灣"}]
    assert figures["added_words"] == [{"id": 2, "word": "新"}]
    assert figures["gone_words"] == [{"id": 2, "word": "台湾"}, {"id": 3, "word": "bye"}]
    run(old, new, "--out", out)
    assert capsys.readouterr().out.endswith("spelled differently before, by class id\n         1  台湾  was 0  臺灣\n")


def test_map_from_the_lexicon_to_a_part_of_it(tmp_path: Path, lexicon: Vocabulary) -> None:
    part = Vocabulary([lexicon.word(id) for id in range(364_000, 10, -7)])
    assert old_ids(lexicon, part) == list(range(364_000, 10, -7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "new.txt"], "--out new.txt: is one of the two vocabularies; choose another file for the class map"),
        (["--out", "./old.txt"], "--out ./old.txt: is one of the two vocabularies"),
        (["--out", "no/map.npy"], "--out no/map.npy: is a folder, or in a folder that does not exist"),
        (["--out", "m.npy", "--json", "m.npy.json"], "--json m.npy.json: is the description of the class map"),
    ],
)
def test_command_refuses_output_paths(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("old.txt", "new.txt"):
        vocabulary("a b").save(name)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["vocab", "map", "old.txt", "new.txt", *options], standalone_mode=False) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ovocr: {message}")
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
