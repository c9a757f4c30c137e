"""Counts the letters of a word, for alphabets only.

In an alphabet, a letter is a sound, so a word of one letter (``s``, ``й``) is mostly a fragment, an initial or an error
of OCR. In other scripts, one character is a word (``年``) or a syllable (``물``, ``है``), and it may be a good tag.
"""

from functools import lru_cache

from ovocr.vocab.word_script import letter_script

ALPHABETS = frozenset({"Latin", "Greek", "Cyrillic", "Armenian", "Georgian", "Hebrew", "Arabic"})
"""Scripts in which a letter is a sound, by their names in ``ovocr.vocab.word_script``."""


@lru_cache(maxsize=65536)
def count_letters(word: str) -> int | None:
    """Returns the number of letters of a word; None if it has a letter of a script that is not an alphabet.

    Letters are the characters of Unicode's letter categories. Digits, marks, apostrophes and symbols do not count:
    ``3d`` has one letter, ``don't`` has four, ``h&m`` has two.
    """
    if word.isascii():
        return sum(map(str.isalpha, word))
    scripts = [script for script in map(letter_script, word) if script is not None]
    return len(scripts) if ALPHABETS.issuperset(scripts) else None
