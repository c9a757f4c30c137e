"""Finds the script of a word by the Unicode names of its letters, without the package ``regex``."""

import unicodedata
from functools import lru_cache

MIXED = "mixed"
OTHER = "other"
# Each name, except Han, is also the first word of the Unicode names of its letters.
_NAMED = (
    *("Latin", "Hiragana", "Katakana", "Hangul", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali"),
    *("Gurmukhi", "Gujarati", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Tibetan"),
    *("Myanmar", "Khmer", "Georgian", "Armenian", "Ethiopic"),
)
SCRIPTS = ("Han", *_NAMED, MIXED, OTHER)
"""All results of ``script_of``."""

_BY_FIRST_WORD = {script.upper(): script for script in _NAMED} | {
    **{"CJK": "Han", "IDEOGRAPHIC": "Han", "HANGZHOU": "Han"},
    **{"HENTAIGANA": "Hiragana", "ROMAN": "Latin"},
}
# First words of letters that several scripts share: the sound mark of both kana, phonetic letters above the line.
_SHARED = frozenset({"KATAKANA-HIRAGANA", "MODIFIER"})
# Prefixes before the script in a letter's name.
_WIDTHS = ("HALFWIDTH ", "FULLWIDTH ")
# Letters and letter-like numbers, such as the Han 〇. Marks belong to the letter before them.
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nl"})


def script_of(word: str) -> str:
    """Returns the script of the word's letters, such as "Latin" or "Han". Digits, marks and symbols do not count.

    Returns "mixed" for letters of several scripts (``t恤``). Returns "other" for a word without letters or with
    letters of a script that is not in ``SCRIPTS``. Letters that several scripts share, such as ``ー`` in ``データ``, do
    not count.
    """
    scripts = {script for script in map(letter_script, word) if script is not None}
    if len(scripts) > 1:
        return MIXED
    return next(iter(scripts), OTHER)


@lru_cache(maxsize=65536)
def letter_script(character: str) -> str | None:
    """Returns the script of a letter, or None if the character is not a letter or several scripts share it."""
    if unicodedata.category(character) not in _LETTERS:
        return None
    name = unicodedata.name(character, "")
    for width in _WIDTHS:
        name = name.removeprefix(width)
    first, _, _ = name.partition(" ")
    return None if first in _SHARED else _BY_FIRST_WORD.get(first, OTHER)
