"""Weights of tags from word frequencies."""

import math
from pathlib import Path

import pytest
import torch

from ovocr.base.errors import UsageError
from ovocr.trainer.data.tag_weights import TagWeights
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_frequencies import WordFrequencies


def test_weights_are_those_of_the_words_in_the_order_of_the_classes(tmp_path: Path) -> None:
    WordFrequencies(19, {"fox": 4, "the": 19, "other": 1}).save(tmp_path / "f.tsv")
    weights = TagWeights.load("ocr", tmp_path / "f.tsv", Vocabulary(["the", "unseen", "fox"])).tensor()
    torch.testing.assert_close(weights, torch.tensor([1.0, 1 + math.log(20), 1 + math.log(4)]))


@pytest.mark.parametrize(
    ("file_words", "vocabulary_words", "shared", "fits"),
    [
        (50, 40, 0, False),
        (0, 40, 0, False),
        (50, 40, 4, False),
        (50, 40, 5, True),
        (500, 10, 2, True),
        (10, 500, 2, True),
    ],
)
def test_frequencies_of_other_words_are_refused(
    tmp_path: Path, file_words: int, vocabulary_words: int, shared: int, fits: bool
) -> None:
    """The smaller list must share more than a tenth of its words."""
    words = [f"word{number}" for number in range(1_000)]
    WordFrequencies(9, dict.fromkeys(words[:file_words], 3)).save(tmp_path / "f.tsv")
    vocabulary = Vocabulary(words[file_words - shared : file_words - shared + vocabulary_words])
    if fits:
        weights = TagWeights.load("ocr", tmp_path / "f.tsv", vocabulary).tensor()
        assert int((weights < 3).sum()) == shared
        return
    with pytest.raises(UsageError) as caught:
        TagWeights.load("ocr", tmp_path / "f.tsv", vocabulary)
    assert str(caught.value) == (
        f"heads.ocr.tag_frequencies: {tmp_path}/f.tsv: has {file_words} words, of which {shared} are among the 40 "
        "words of the head's vocabulary; give the file of a data set with this vocabulary"
    )


def test_a_vocabulary_and_the_file_are_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^heads.ocr.tag_frequencies: the class ids of this head have no words; "):
        TagWeights.load("ocr", tmp_path / "f.tsv", None)
    with pytest.raises(UsageError, match=r"^heads.ocr.tag_frequencies: .*f.tsv: word frequencies cannot be read: No s"):
        TagWeights.load("ocr", tmp_path / "f.tsv", Vocabulary(["a"]))
