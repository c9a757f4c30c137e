"""Normalisation: one spelling for text that looks the same. Words are counted, stored and looked up in this form.

A line is converted to Unicode's NFKC_Casefold form (UAX #31), which removes compatibility forms, case and invisible
characters. Then three differences of OCR and typesetting are removed:

- apostrophes (``’ ‘ ‛ ʼ``) become ``'`` and hyphens (``‐``, and through NFKC ``‑ － ﹣``) become ``-``;
- invisible characters inside words (soft hyphen, zero-width joiners, direction marks, variation selectors, byte order
  mark, Hangul fillers) are removed;
- invisible characters between words (controls, all spaces and line ends, ZERO WIDTH SPACE) become a space.

The result is a fixed point: ``normalise(normalise(x)) == normalise(x)``.
"""

import re
import unicodedata
from collections.abc import Iterable

# Identifies the rules in vocabulary files. Raise the version when a rule changes the result for any line.
NORMALISATION = {"form": "NFKC casefold NFKC", "version": 1}

# Unicode's Default_Ignorable_Code_Point without ZERO WIDTH SPACE. Written out because Python's unicodedata lacks the
# property and a table would change with the Python version.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_SEPARATING = re.compile("[\x00-\x1f\x7f-\xa0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000]")
_LOOK_ALIKES = {"\u2019": "'", "\u2018": "'", "\u201b": "'", "\u02bc": "'", "\u2010": "-"}


def normalise(text: str) -> str:
    """Returns the normalised form of a line or word, without leading and trailing spaces. Rules: see the module."""
    return normalise_inside(text).strip(" ")


def normalise_inside(text: str) -> str:
    """Returns the normalised form of a line with its leading and trailing spaces."""
    if text.isascii():  # most lines; NFKC and the other rules do not change ASCII
        return _SEPARATING.sub(" ", text).lower()
    previous = None
    while text != previous:  # two rounds for nearly all text; a case fold can allow another composition
        previous = text
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        text = unicodedata.normalize("NFKC", text.casefold())
        for look_alike, plain in _LOOK_ALIKES.items():  # faster than str.translate
            text = text.replace(look_alike, plain)
        text = _SEPARATING.sub(" ", text)
    return text


def normalise_words(words: Iterable[str]) -> list[str]:
    """Returns the normalised words. Ten times faster than ``normalise`` for each word."""
    return normalise(" ".join(words)).split(" ")  # no rule reaches across a space
