"""Letters of words are counted in alphabets only."""

import pytest

from ovocr.vocab.word_letters import count_letters


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        *(("a", 1), ("ok", 2), ("don't", 4), ("3d", 1), ("c++", 1), ("covid19", 5), ("1990's", 1), ("q&a", 2)),
        *(("café", 4), ("x\u0323y", 2), ("straße", 6), ("я", 1), ("да", 2), ("αβγ", 3), ("שלום", 4), ("و", 1)),
        *(("年", None), ("t恤", None), ("を", None), ("データ", None), ("물", None), ("है", None), ("สวัสดี", None)),
    ],
)
def test_letters(word: str, letters: int | None):
    assert count_letters(word) == letters
