"""Scripts of words, and of all letters of normalised words compared with the package regex."""

import sys
import unicodedata

import pytest
import regex

from ovocr.vocab.segmentation.normalisation import normalise
from ovocr.vocab.word_script import MIXED, OTHER, SCRIPTS, script_of


@pytest.mark.parametrize(
    ("word", "script"),
    [
        ("blankets", "Latin"),
        ("don't", "Latin"),
        ("covid19", "Latin"),
        ("1990's", "Latin"),
        ("c++", "Latin"),
        ("straße", "Latin"),
        ("ｃａｆé", "Latin"),
        ("e\u0301te\u0301", "Latin"),  # separate marks
        ("不要", "Han"),
        ("〇", "Han"),
        ("人々", "Han"),
        ("ひらがな", "Hiragana"),
        ("データ", "Katakana"),
        ("ﾃﾞｰﾀ", "Katakana"),
        ("らーめん", "Hiragana"),  # both kana share the long mark
        ("안녕하세요", "Hangul"),
        ("привет", "Cyrillic"),
        ("λόγος", "Greek"),
        ("مرحبا", "Arabic"),
        ("שלום", "Hebrew"),
        ("हिन्दी", "Devanagari"),
        ("ภาษาไทย", "Thai"),
        ("t恤", MIXED),
        ("4s店", MIXED),
        ("рaypal", MIXED),  # a Cyrillic р
        ("2019", OTHER),
        ("ー", OTHER),
        ("", OTHER),
        ("\x00", OTHER),
        ("ᏣᎳᎩ", OTHER),
    ],
)
def test_scripts_of_words(word: str, script: str) -> None:
    assert script_of(word) == script


def test_letters_have_their_unicode_script() -> None:
    wrong = {}
    named = {script: regex.compile(rf"\p{{{script}}}") for script in SCRIPTS if script not in (MIXED, OTHER)}
    checked = 0
    for letter in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(letter)[0] == "L" and normalise(letter) == letter:
            truth = next((script for script, pattern in named.items() if pattern.fullmatch(letter)), OTHER)
            checked += 1
            if script_of(letter) != truth:
                wrong[letter] = (script_of(letter), truth)
    assert checked > 100_000
    # Exceptions: signs that two scripts share, phonetic letters, marks that repeat a kanji.
    assert len(wrong) < 10, wrong
    assert not set("abcdefghijklmnopqrstuvwxyz一二三々あア가жαاאहท") & wrong.keys()
