"""Word frequencies: their files and weights."""

import math
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.vocab.word_frequencies import WordFrequencies

TEXT = "word\timages\n\t9\nthe\t9\nfox\t2\n不要\t2\nimages\t1\n"


def test_file_contains_the_number_of_images_and_words_by_frequency(tmp_path: Path):
    frequencies = WordFrequencies(9, {"不要": 2, "images": 1, "the": 9, "fox": 2})
    frequencies.save(tmp_path / "f.tsv")
    assert (tmp_path / "f.tsv").read_bytes().decode() == TEXT
    again = WordFrequencies.load(tmp_path / "f.tsv")
    assert again.text == TEXT
    assert again.describe() == frequencies.describe()
    assert (again.describe()["images"], again.describe()["words"]) == (9, 4)


def test_rare_words_have_larger_weights_of_at_least_1():
    frequencies = WordFrequencies(9, {"the": 9, "fox": 1})
    assert frequencies.weight("the") == 1.0
    assert frequencies.weight("fox") == pytest.approx(1 + math.log(5))
    assert frequencies.weight("unseen") == pytest.approx(1 + math.log(10))
    assert WordFrequencies(0, {}).weight("any") == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the\t9\n", r"f.tsv:1: not word frequencies; give a file that `ovocr relabel --policy idf` wrote"),
        ("", r"f.tsv:1: not word frequencies"),
        ("word\timages\n", r"f.tsv:2: the number of all images is missing"),
        ("word\timages\nthe\t9\n", r"f.tsv:2: not a word, a tab"),
        (TEXT + "the\t1\n", r'f.tsv:7: "the" is repeated; leave one of the lines'),
        (TEXT + "\t1\n", r"f.tsv:7: not a word, a tab"),
        (TEXT + "dog\t-1\n", r"f.tsv:7: not .* a tab and a number"),
        (TEXT + "dog\n", r"f.tsv:7: not .* a tab and a number"),
        (TEXT + "dog\t1", r"f.tsv:7: the last line has no line end"),
        (TEXT + "dog\t10\n", r'f.tsv: "dog" in 10 of 9 images'),
        (TEXT + "d\x1bg\t0\n", r'f.tsv: "d\\x1bg" in 0 of 9 images'),
    ],
)
def test_load_refuses_other_files(tmp_path: Path, text: str, message: str):
    (tmp_path / "f.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(OvocrError, match=message):
        WordFrequencies.load(tmp_path / "f.tsv")


def test_load_refuses_binary_files_and_folders(tmp_path: Path):
    (tmp_path / "f.tsv").write_bytes(b"word\timages\n\xff")
    with pytest.raises(OvocrError, match="f.tsv: not UTF-8"):
        WordFrequencies.load(tmp_path / "f.tsv")
    with pytest.raises(OvocrError, match="word frequencies cannot be read"):
        WordFrequencies.load(tmp_path)
