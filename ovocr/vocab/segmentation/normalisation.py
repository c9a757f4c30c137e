"""One spelling for what looks alike: the form in which words are counted, stored and looked up.

A line is brought to Unicode's NFKC_Casefold form (UAX #31; compatibility forms, case and invisible characters are
gone), then three habits of OCR and typesetting are evened out:

- apostrophes (``’ ‘ ‛ ʼ``) become ``'`` and hyphens (``‐``, and through NFKC ``‑ － ﹣``) become ``-``;
- characters without ink that do not separate words (soft hyphen, zero-width joiners, direction marks, variation
  selectors, byte order mark, Hangul fillers) are removed;
- characters without ink that separate (controls, all kinds of space and line end, ZERO WIDTH SPACE) become a space.

The result is a fixed point: ``normalise(normalise(x)) == normalise(x)``.
"""

import re
import unicodedata

# Names the rules above in vocabulary files; goes up when a rule changes what any line is normalised to.
NORMALISATION = {"form": "NFKC casefold NFKC", "version": 1}

# Unicode's Default_Ignorable_Code_Point but for ZERO WIDTH SPACE. Written out, because Python's unicodedata does not
# have the property and a table would change with the Python version.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_SEPARATING = re.compile("[\x00-\x1f\x7f-\xa0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000]")
_LOOK_ALIKES = {"\u2019": "'", "\u2018": "'", "\u201b": "'", "\u02bc": "'", "\u2010": "-"}


def normalise(text: str) -> str:
    """The normalised form of a line or word (rules: see the module). Leading and trailing spaces are dropped."""
    if text.isascii():  # most lines; NFKC and the other rules leave ASCII as it is
        return _SEPARATING.sub(" ", text).strip(" ").lower()
    previous = None
    while text != previous:  # twice for nearly all text; a fold can make way for another composition
        previous = text
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        text = unicodedata.normalize("NFKC", text.casefold())
        for look_alike, plain in _LOOK_ALIKES.items():  # faster than str.translate
            text = text.replace(look_alike, plain)
        text = _SEPARATING.sub(" ", text).strip(" ")
    return text
