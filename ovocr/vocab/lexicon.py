"""The words of the built-in vocabulary ``lexicon``: Chinese from jieba's dictionary, English from wordfreq's list.

365,187 words, in class id order:

1. The 182,594 most frequent words of jieba 0.42.1's dict.txt. Of equally frequent words, those that are not all Han
   come first (``c++``, ``t恤``: nothing else spells them), then shorter words, then words in code point order.
2. The first 182,593 words of wordfreq 3.1.1's large English list, from frequent to rare, that consist of Latin letters
   with apostrophes inside (``don't``). Words with digits are left out: wordfreq writes all numbers of two or more
   digits with zeros.

All words are normalised and distinct. Both lists are frozen releases; the sha256 of the result is checked.
"""

import hashlib
from collections.abc import Iterator
from importlib import metadata
from itertools import chain, islice
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.vocab.segmentation.chinese import JIEBA_VERSION, is_mixed, read_dictionary
from ovocr.vocab.segmentation.normalisation import NORMALISATION, normalise_words
from ovocr.vocab.segmentation.segmenter import DEFAULT
from ovocr.vocab.segmentation.word_costs import WORDFREQ_VERSION, read_wordfreq
from ovocr.vocab.segmentation.word_patterns import compile_latin_word
from ovocr.vocab.text_cache import read_or_make

LEXICON = "lexicon"
CHINESE_WORDS = 182_594
ENGLISH_WORDS = 182_593
SHA256 = "726deb6567bde8f77d85f202c61aaa29126e56fec17f8c0ceb4bc83c5cd01d21"
_PACKAGES = {"jieba": JIEBA_VERSION, "wordfreq": WORDFREQ_VERSION}


def load_lexicon() -> list[str]:
    """Returns the words of the built-in vocabulary in class id order, from the user's cache folder if possible.

    Raises OvocrError like ``build_lexicon``.
    """
    return read_or_make(LEXICON, SHA256, lambda: _text(build_lexicon())).split("\n")[:-1]


def build_lexicon() -> list[str]:
    """Makes the words of the built-in vocabulary from the installed word lists, in one to three seconds.

    Raises OvocrError if a list is missing or is not the release that the lexicon is defined by.
    """
    chinese = _chinese_words()[:CHINESE_WORDS]
    taken = set(chinese)
    words = chinese + list(islice((word for word in _english_words() if word not in taken), ENGLISH_WORDS))
    sha256 = hashlib.sha256(_text(words).encode("utf-8")).hexdigest()
    if sha256 != SHA256:
        raise OvocrError(
            f"the vocabulary {LEXICON} has sha256 {sha256} with {_installed_packages()}, not {SHA256}: "
            f"pip install {' '.join(f'{package}=={version}' for package, version in _PACKAGES.items())}"
        )
    return words


def lexicon_settings() -> dict[str, Any]:
    """Returns the settings of the built-in vocabulary, as a vocabulary's JSON file has them."""
    return {
        "normalisation": NORMALISATION,
        "segmenter": DEFAULT.describe(),
        "source": [f"{package} {version}" for package, version in _PACKAGES.items()],
        "counts": {"chinese": CHINESE_WORDS, "english": ENGLISH_WORDS},
    }


def _text(words: list[str]) -> str:
    return "\n".join([*words, ""])


def _chinese_words() -> list[str]:
    entries, entry_frequencies = read_dictionary()
    frequencies: dict[str, int] = {}
    for word, frequency in zip(normalise_words(entries), entry_frequencies, strict=True):
        frequencies[word] = max(frequency, frequencies.get(word, 0))
    words = sorted(frequencies)
    words.sort(key=len)  # stable sorts: equal words keep the order of the sort before
    words.sort(key=is_mixed, reverse=True)
    words.sort(key=frequencies.__getitem__, reverse=True)
    return words


def _english_words() -> Iterator[str]:
    latin_word = compile_latin_word()
    seen: set[str] = set()
    for word in normalise_words(chain.from_iterable(read_wordfreq("en", "large"))):
        if word not in seen and latin_word.fullmatch(word):
            seen.add(word)
            yield word


def _installed_packages() -> str:
    return " and ".join(f"{package} {metadata.version(package)}" for package in _PACKAGES)
