"""Restoring lost spaces in synthetic predictions."""

import numpy as np
import pytest
from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

from ovocr.labelgen.engines.lost_spaces import LostSpaces, SpacingDecoder

LETTERS = "abc12中文のก한"


def read(columns: str, space: dict[int, float]) -> tuple[str, float]:
    """Returns text and score for the likeliest character of each column (_ for blank).

    space: maps columns to the probability of a space.
    """
    decoder = CTCLabelDecode(character=list(LETTERS))
    predictions = np.zeros((1, len(columns), len(decoder.character)), np.float32)
    for column, character in enumerate(columns):
        predictions[0, column, 0 if character == "_" else decoder.character.index(character)] = 0.6
    for column, probability in space.items():
        predictions[0, column, -1] = probability
    ((line,), _) = SpacingDecoder(decoder)(predictions)
    return line


@pytest.mark.parametrize(
    ("columns", "space", "text"),
    [
        ("a__b", {2: 0.2}, "a b"),
        ("a__b", {2: 0.09}, "ab"),
        ("a__b", {}, "ab"),
        ("a__b_c", {1: 0.1, 2: 0.3}, "a bc"),  # one space per gap
        ("12__12", {3: 0.2}, "12 12"),
        ("ab", {0: 0.3, 1: 0.3}, "ab"),  # no column between the letters
        ("aa_b", {1: 0.3}, "ab"),  # a column with a letter keeps it
        ("a_a", {1: 0.3}, "a a"),
        ("a _b", {2: 0.3}, "a b"),  # already a space
        ("__a__", {0: 0.5, 4: 0.5}, "a"),  # no spaces around the text
        ("中_文", {1: 0.5}, "中文"),
        ("文_の", {1: 0.5}, "文の"),
        ("ก_ก", {1: 0.5}, "กก"),
        ("中_a", {1: 0.5}, "中 a"),
        ("한_한", {1: 0.5}, "한 한"),
        ("____", {1: 0.5}, ""),
    ],
)
def test_likely_spaces_between_words_are_restored(columns: str, space: dict[int, float], text: str):
    assert read(columns, space)[0] == text


def test_restored_space_does_not_change_the_score():
    assert read("a__b", {2: 0.2})[1] == read("a__b", {})[1] == pytest.approx(0.6)


def test_texts_do_not_depend_on_the_batch():
    theirs = CTCLabelDecode(character=list(LETTERS))
    decoder = SpacingDecoder(theirs)
    generator = np.random.default_rng(0)
    predictions = generator.dirichlet(np.full(len(theirs.character), 0.1), (20, 12)).astype(np.float32)
    together, _ = decoder(predictions)
    assert together == [decoder(predictions[n : n + 1])[0][0] for n in range(20)]
    assert len({text for text, _ in together}) == 20


def test_wrong_number_of_characters_raises():
    with pytest.raises(ValueError, match="the network has 5 characters, its list has 4"):
        LostSpaces(["blank", "a", "b", " "]).restore(np.zeros((1, 3, 5), np.float32))
