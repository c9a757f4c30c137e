"""The costs of words of the Latin script: -log of a word's frequency in running text, from wordfreq's lists.

The text is modelled as 95% English (wordfreq 3.1.1's large list) and 5% other languages (27 small lists in equal
shares), so ``jalan`` and ``straße`` are words too, but rarer. The lists are a frozen release; the sha256 of the result
is checked.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from functools import cache
from itertools import repeat

from ovocr.base.errors import OvocrError
from ovocr.vocab.segmentation.normalisation import normalise_words
from ovocr.vocab.segmentation.word_patterns import compile_latin_word
from ovocr.vocab.text_cache import read_or_make

WORDFREQ_VERSION = "3.1.1"
SHA256 = "21051d27783e17b2f3375cab241992c83e44c66ae6f84c2e936974c7359ba212"
_NAME = "word-costs"
# Languages of the Latin script for which wordfreq has a list.
_OTHER_LANGUAGES = "ca cs da de es fi fil fr hu id is it lt lv ms nb nl pl pt ro sh sk sl sv tr vi"
_ENGLISH_SHARE = 0.95
# Words of other languages below this frequency are left out: many of them are misspellings.
_LEAST_FREQUENCY = 5e-6
# Costs are stored as whole numbers of steps.
_STEPS_PER_NAT = 10
# Words with single digits, such as mp3, 3d and b2b. The lists write longer numbers as zeros.
_WORD_WITH_DIGITS = re.compile(r"(?=.*[a-z])(?:[a-z]+|[0-9](?![0-9]))*")
# The lists have these as words, because people write them so in names and tags. In OCR a space was lost.
_LISTED_WORD_PAIRS = frozenset({"aswell", "atleast", "happybirthday", "infact", "ofcourse", "thankyou"})


def prepare_word_costs() -> str:
    """Returns the text of ``make_word_costs``, from the user's cache folder if possible; else makes and caches it.

    Call it before starting worker processes; otherwise each of them makes the text. Raises OvocrError if wordfreq is
    missing or is a different release.
    """
    return read_or_make(_NAME, SHA256, _make_checked)


def _make_checked() -> str:
    text = make_word_costs()
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    if sha256 != SHA256:
        raise OvocrError(
            f"the costs of words have sha256 {sha256}, not {SHA256}: pip install wordfreq=={WORDFREQ_VERSION}"
        )
    return text


@cache
def load_word_costs() -> dict[str, float]:
    """Returns the cost of each listed word, in nats. Cached per process.

    Takes 0.2 s and 60 MB; 3 s if the text is not in the user's cache folder. Raises OvocrError if wordfreq is missing
    or is a different release.
    """
    costs: dict[str, float] = {}
    for line in prepare_word_costs().split("\n")[:-1]:
        steps, *words = line.split(" ")
        costs.update(zip(words, repeat(int(steps) / _STEPS_PER_NAT)))
    return costs


def make_word_costs() -> str:
    """Returns one line per cost: the cost in steps, then the words with that cost in code point order."""
    by_cost: dict[int, list[str]] = {}
    for word, share in sorted(_shares().items()):
        by_cost.setdefault(round(-math.log(share) * _STEPS_PER_NAT), []).append(word)
    return "".join(f"{cost} {' '.join(words)}\n" for cost, words in sorted(by_cost.items()))


def _shares() -> dict[str, float]:
    """Returns each word's share of running text."""
    shares: dict[str, float] = {}
    languages = _OTHER_LANGUAGES.split()
    for language in languages:
        for word, frequency in _frequencies(language, "small"):
            if frequency < _LEAST_FREQUENCY:
                break
            shares[word] = shares.get(word, 0.0) + frequency * (1 - _ENGLISH_SHARE) / len(languages)
    for word, frequency in _frequencies("en", "large"):
        shares[word] = shares.get(word, 0.0) + frequency * _ENGLISH_SHARE
    return {word: share for word, share in shares.items() if word not in _LISTED_WORD_PAIRS}


def _frequencies(language: str, size: str) -> Iterator[tuple[str, float]]:
    """Yields the normalised words of a wordfreq list and their frequencies, from frequent to rare."""
    latin_word = compile_latin_word()
    for centibels, words in enumerate(read_wordfreq(language, size)):
        if words:
            for word in normalise_words(words):
                if latin_word.fullmatch(word) or _WORD_WITH_DIGITS.fullmatch(word):
                    yield word, 10 ** (-centibels / 100)


def read_wordfreq(language: str, size: str) -> list[list[str]]:
    """Returns a wordfreq list in its cBpack format: the words at index i have the frequency 10 ** (-i / 100).

    size: "small" or "large". Raises OvocrError if wordfreq is not installed.
    """
    try:
        import wordfreq
    except ImportError as error:
        raise OvocrError(f"finding words needs wordfreq: pip install wordfreq=={WORDFREQ_VERSION}") from error
    words: list[list[str]] = wordfreq.get_frequency_list(language, size)
    return words
