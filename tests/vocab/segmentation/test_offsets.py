"""Offsets in a normalised line are mapped to offsets in the line as it was read."""

import math
import random
import sys
import unicodedata
from itertools import pairwise

import pytest

from ovocr.vocab import load_segmenter, locate_words
from ovocr.vocab.segmentation.normalisation import normalise, normalise_inside
from ovocr.vocab.segmentation.offsets import line_offsets

MARKS = ["\u0301", "\u0323", "\u3099", "\u00ad", "\u200d", "\ufe0f"]
VOWELS_AND_FINALS = range(0x1160, 0x1200)


def offsets(line: str) -> list[float]:
    return line_offsets(line, load_segmenter().normalise(line))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", [0]),
        ("   ", [3]),
        ("ab c", [0, 1, 2, 3, 4]),
        ("  \tab\t c ", [3, 4, 5, 6, 7, 8]),  # leading spaces and tabs are stripped, inner ones are kept
        ("\u3000北京 ", [1, 2, 3]),
        ("ﬁx", [0, 0.5, 1, 2]),
        ("aﬃ", [0, 1, 4 / 3, 5 / 3, 2]),
        ("3½", [0, 1, 4 / 3, 5 / 3, 2]),  # 31⁄2
        ("Straße", [0, 1, 2, 3, 4, 4.5, 5, 6]),
        ("e\u0301te\u0301", [0, 2, 3, 5]),  # été
        ("x\u0323y", [0, 1, 2, 3]),  # no composed character exists
        ("a\u0323\u0302b", [0, 3, 4]),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", [0, 3, 6]),  # 한글
        ("\uac00\u11a8\uac00", [0, 2, 3]),  # a syllable and a final consonant
        ("ｶﾞｽﾞﾊﾟ", [0, 2, 4, 6]),
        ("soft\u00ad", [0, 1, 2, 3, 5, 5]),  # a visible hyphen without a width of its own
        ("soft\u00adware", [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ("\u200e\ufeffab\u200d", [2, 3, 5]),
        ("a\u200bb", [0, 1, 2, 3]),  # ZERO WIDTH SPACE is a space
        ("e\u200d\u0301a", [0, 3, 4]),  # the mark combines across the invisible character
        ("-\u00ad", [0, 2, 2]),
    ],
)
def test_offsets_of_a_line(line: str, expected: list[float]):
    assert offsets(line) == pytest.approx(expected)


def test_folded_characters_keep_their_offsets():
    from ovocr.vocab import Segmentation

    (word,) = locate_words([" 臺灣"], Segmentation("simplified"))
    assert (word.text, word.start, word.end) == ("台湾", 1, 3)


def test_edges_are_spread_evenly_if_the_normalised_line_is_another():
    assert line_offsets("ab", "abcd") == [0, 0.5, 1, 1.5, 2]
    assert line_offsets("abc", "") == [0]


def assigned(first: int, last: int) -> list[str]:
    """Returns the assigned characters of a range that neither combine nor disappear."""
    found = []
    for code in range(first, last + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cn", "Co", "Cs") or code in VOWELS_AND_FINALS:
            continue
        normalised = normalise_inside(chr(code))
        if normalised and not unicodedata.category(normalised[0]).startswith("M"):
            found.append(chr(code))
    return found


POOLS = [assigned(0x20, 0x7E), assigned(0x20, 0x24F), assigned(0x20, 0x2FFF), assigned(0x20, sys.maxunicode)]


def random_line(draw: random.Random) -> str:
    """Returns a line of random characters; a character that normalisation does not expand may have marks."""
    pool, line = draw.choice(POOLS), ""
    for _ in range(draw.randrange(16)):
        line += draw.choice(pool)
        if len(normalise_inside(line[-1])) == 1 and not draw.randrange(4):
            line += "".join(draw.choices(MARKS, k=draw.randrange(1, 3)))
        line += draw.choice(["", "", "", " ", "\t", "\u1112\u1161\u11ab", "ﬁ", "ｶﾞ"])
    return line


def test_offsets_of_random_lines_ascend_within_the_line():
    draw = random.Random(0)
    for _ in range(3000):
        line = random_line(draw) + draw.choice(["", "\u00ad", *MARKS])
        normalised = load_segmenter().normalise(line)
        found = line_offsets(line, normalised)
        assert len(found) == len(normalised) + 1, ascii(line)
        assert all(before <= after for before, after in pairwise([0, *found, len(line)])), ascii(line)


def test_the_text_between_a_random_word_s_offsets_contains_the_word():
    draw = random.Random(1)
    words = 0
    for _ in range(3000):
        line = random_line(draw)
        for word in locate_words([line]):
            part = line[math.floor(word.start) : math.ceil(word.end)]
            assert word.text in normalise(part), (ascii(line), ascii(part), word)
            words += 1
    assert words > 10_000
