r"""Regular expressions that find words in a normalised line, by script. The alternatives are tried in this order:

============  =======================================================================================================
symbol words  ``c++ c# at&t sk-ii t恤 4s店``: the list below and the mixed-script words of jieba's dictionary, longest
              first, if neither end is inside a run of its own script
numbers       digits that touch no Latin letter are not a word: ``12.50``, ``2019``, ``100%``
Latin         letters with their marks and digits, with ``'`` before a letter inside: ``don't covid19 3d 1990's``.
              ``latin_words`` finds the words in such a run
Han           Chinese, and the kanji of Japanese. jieba cuts such a run into words
others        letters and marks of one script are one word: ``データ``, ``안녕하세요``, ``привет``, ``हिन्दी``. Thai and
              other scripts without spaces are not cut further
the rest      separates words: spaces, punctuation (also ``- . & / @ _``: ``e-mail`` gives e, mail), symbols, emoji
============  =======================================================================================================

Every word has a letter. URLs and addresses are split at their punctuation.
"""

import re
from collections.abc import Iterable
from typing import Any

from ovocr.base.errors import OvocrError

# Words with a symbol inside and no other spelling. The lexicon has at&t, c# and c++ from jieba's dictionary.
SYMBOL_WORDS = ("at&t", "b&b", "c#", "c++", "f#", "g++", "h&m", "p&g", "q&a", "r&b", "r&d", "s&p", "sk-ii")

# Scripts in which a run of letters and marks is one word. Scripts without a rule of their own share the last rule.
_RUN_SCRIPTS = (
    "Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Hangul Hebrew Kannada Khmer "
    "Lao Malayalam Myanmar Sinhala Tamil Telugu Thai Tibetan"
)

_PATTERN = r"""
  (?P<symbol> (?: (?<! [\p{Latin}\p{M}0-9] ) (?=[\p{Latin}0-9]) | (?<! \p{Han} ) (?=\p{Han}) | (?=\p{Greek}) )
              (?: SYMBOL_WORDS )
              (?: (?<! [\p{Latin}0-9] ) | (?! '?+ [\p{Latin}\p{M}0-9] ) ) )
| (?P<number> [0-9] [0-9\p{M}]*+ (?! '?+ \p{Latin} ) )
| (?P<latin>  [\p{Latin}0-9] [\p{Latin}\p{M}0-9]*+ (?: ' \p{Latin} [\p{Latin}\p{M}0-9]*+ )*+ )
| (?P<han>    \p{Han}++ )
| (?P<run>    [\p{Hiragana}&&\p{L}] [[\p{Hiragana}&&\p{L}]\p{M}ー]*+
            | [\p{Katakana}&&\p{L}] [[\p{Katakana}&&\p{L}]\p{M}ー]*+
            | RUNS
            | [\p{L}--RULED] [[\p{L}--RULED]\p{M}]*+ )
"""

# The first three rules for lines whose only letters are a to z.
_ASCII_PATTERN = r"""
  (?P<symbol> (?<! [a-z0-9] ) (?: SYMBOL_WORDS ) (?: (?<! [a-z0-9] ) | (?! '? [a-z0-9] ) ) )
| (?P<number> [0-9]+ (?! [0-9] | '? [a-z] ) )
| (?P<latin>  [a-z0-9]+ (?: ' [a-z] [a-z0-9]* )* )
"""


def compile_words(mixed_words: Iterable[str]) -> Any:
    """Compiles the pattern of the table above with the package ``regex``; its groups are named after the rules.

    mixed_words: normalised dictionary words of more than one script, kept whole like ``SYMBOL_WORDS``.

    Raises OvocrError if regex is not installed.
    """
    regex = _import_regex()
    letters = [rf"[\p{{{script}}}&&\p{{L}}]" for script in _RUN_SCRIPTS.split()]
    ruled = "".join(rf"\p{{{script}}}" for script in f"Latin Han Hiragana Katakana Common {_RUN_SCRIPTS}".split())
    pattern = (
        _PATTERN.replace("SYMBOL_WORDS", _alternatives({*SYMBOL_WORDS, *mixed_words}))
        .replace("RUNS", "|".join(rf"{letter} [{letter}\p{{M}}]*+" for letter in letters))
        .replace("RULED", f"[{ruled}]")
    )
    return regex.compile(pattern, regex.VERSION1 | regex.VERBOSE)


def compile_ascii_words(mixed_words: Iterable[str]) -> re.Pattern[str]:
    """Compiles the same pattern for ASCII lines, which are the most common: three times as fast."""
    symbol_words = {word for word in (*SYMBOL_WORDS, *mixed_words) if word.isascii()}
    return re.compile(_ASCII_PATTERN.replace("SYMBOL_WORDS", _alternatives(symbol_words)), re.VERBOSE)


def _alternatives(words: Iterable[str]) -> str:
    """Joins the words to alternatives, longest first, so that a word is found before its beginning."""
    return "|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word))))


def compile_latin_word() -> Any:
    """Compiles a pattern whose full match is one word of Latin letters with apostrophes inside and without digits."""
    return _import_regex().compile(r"\p{Latin}[\p{Latin}\p{M}]*+(?:'\p{Latin}[\p{Latin}\p{M}]*+)*+")


def _import_regex() -> Any:
    try:
        import regex
    except ImportError as error:
        raise OvocrError("finding words needs the package regex: pip install regex") from error
    return regex
