"""The script of a word, by the Unicode names of its letters: for reports, and where the package ``regex`` is not."""

import unicodedata
from functools import lru_cache

MIXED = "mixed"
OTHER = "other"
# Each is the first word of its letters' Unicode names as well, but for Han.
_NAMED = (
    *("Latin", "Hiragana", "Katakana", "Hangul", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali"),
    *("Gurmukhi", "Gujarati", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Tibetan"),
    *("Myanmar", "Khmer", "Georgian", "Armenian", "Ethiopic"),
)
SCRIPTS = ("Han", *_NAMED, MIXED, OTHER)
"""Every answer of ``script_of``."""

_BY_FIRST_WORD = {script.upper(): script for script in _NAMED} | {
    **{"CJK": "Han", "IDEOGRAPHIC": "Han", "HANGZHOU": "Han"},
    **{"HENTAIGANA": "Hiragana", "ROMAN": "Latin"},
}
# Of several scripts: the sound mark of both kana, phonetic letters above the line.
_SHARED = frozenset({"KATAKANA-HIRAGANA", "MODIFIER"})
# What may stand before the script in a letter's name.
_WIDTHS = ("HALFWIDTH ", "FULLWIDTH ")
# Letters, and the numbers that are letters by descent, such as the Han 〇; marks follow the letter they stand on.
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nl"})


def script_of(word: str) -> str:
    """The one script of the word's letters, such as "Latin" or "Han"; digits, marks and symbols do not count.

    "mixed" where its letters are of several, as in ``t恤``; "other" where it has no letter, or letters of a script that
    is not in ``SCRIPTS``. A letter that several scripts share, as the ``ー`` of ``データ``, goes with the rest.
    """
    scripts = {script for script in map(_letter_script, word) if script is not None}
    if len(scripts) > 1:
        return MIXED
    return next(iter(scripts), OTHER)


@lru_cache(maxsize=65536)
def _letter_script(character: str) -> str | None:
    """None where the character tells nothing: it is no letter, or one of several scripts."""
    if unicodedata.category(character) not in _LETTERS:
        return None
    name = unicodedata.name(character, "")
    for width in _WIDTHS:
        name = name.removeprefix(width)
    first, _, _ = name.partition(" ")
    return None if first in _SHARED else _BY_FIRST_WORD.get(first, OTHER)
