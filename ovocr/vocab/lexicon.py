"""The built-in starter vocabulary ``lexicon``: Chinese from jieba's dictionary, English from wordfreq's list.

365,187 words, in class id order:

1. the 182,594 most frequent words of jieba 0.42.1's dict.txt; of equally frequent ones first those that are not all
   Han (``c++``, ``t恤``: nothing else spells them), then the shorter, then by code point
2. the first 182,593 of wordfreq 3.1.1's large English list, from frequent to rare, that are made of Latin letters, with
   apostrophes inside (``don't``). wordfreq writes all numbers of two digits and more with zeros, so words with digits
   are left out.

All are normalised and distinct. Both lists are frozen releases, and the result is checked to the byte.
"""

from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import chain, islice

from ovocr.base.errors import OvocrError
from ovocr.vocab.kept_file import keep, read_kept
from ovocr.vocab.segmentation.chinese import JIEBA_VERSION, is_mixed, read_dictionary
from ovocr.vocab.segmentation.normalisation import NORMALISATION, normalise
from ovocr.vocab.segmentation.scripts import compile_latin_word
from ovocr.vocab.segmentation.segmenter import DEFAULT
from ovocr.vocab.vocabulary import LEXICON, Vocabulary

CHINESE_WORDS = 182_594
ENGLISH_WORDS = 182_593
SHA256 = "726deb6567bde8f77d85f202c61aaa29126e56fec17f8c0ceb4bc83c5cd01d21"
# The releases that the lexicon is made from.
PACKAGES = {"jieba": JIEBA_VERSION, "wordfreq": "3.1.1"}


def load_lexicon() -> Vocabulary:
    """The built-in vocabulary: as an earlier call left it in the user's cache folder, or made and left there.

    What lies there counts only if it is the lexicon to the byte. Raises OvocrError as ``build_lexicon`` does.
    """
    kept = read_kept(LEXICON, SHA256)
    if kept is not None:
        return Vocabulary(kept.split("\n")[:-1], _settings(), name=LEXICON)
    vocabulary = build_lexicon()
    keep(LEXICON, SHA256, "".join(f"{vocabulary.word(number)}\n" for number in range(len(vocabulary))))
    return vocabulary


def build_lexicon() -> Vocabulary:
    """Make the built-in vocabulary from the installed word lists, in one to three seconds.

    Raises OvocrError where they are missing or are not the releases that the lexicon is defined by.
    """
    chinese = _chinese_words()[:CHINESE_WORDS]
    taken = set(chinese)
    english = list(islice((word for word in _english_words() if word not in taken), ENGLISH_WORDS))
    vocabulary = Vocabulary(chinese + english, _settings(), name=LEXICON)
    if vocabulary.sha256 != SHA256:
        raise OvocrError(
            f"the vocabulary {LEXICON} has sha256 {vocabulary.sha256} with {_installed_packages()}, not {SHA256}: "
            f"pip install {' '.join(f'{package}=={version}' for package, version in PACKAGES.items())}"
        )
    return vocabulary


def _settings() -> dict[str, object]:
    return {
        "normalisation": NORMALISATION,
        "segmenter": DEFAULT.describe(),
        "source": [f"{package} {version}" for package, version in PACKAGES.items()],
        "counts": {"chinese": CHINESE_WORDS, "english": ENGLISH_WORDS},
    }


def _chinese_words() -> list[str]:
    entries, entry_frequencies = read_dictionary()
    frequencies: dict[str, int] = {}
    for word, frequency in zip(_normalise_all(entries), entry_frequencies, strict=True):
        frequencies[word] = max(frequency, frequencies.get(word, 0))
    words = sorted(frequencies)
    words.sort(key=len)  # this and the following keep the order of what is equal
    words.sort(key=is_mixed, reverse=True)
    words.sort(key=frequencies.__getitem__, reverse=True)
    return words


def _english_words() -> Iterator[str]:
    try:
        import wordfreq
    except ImportError as error:
        raise OvocrError(
            f"the vocabulary {LEXICON} needs wordfreq: pip install wordfreq=={PACKAGES['wordfreq']}"
        ) from error
    latin_word = compile_latin_word()
    seen: set[str] = set()
    for word in _normalise_all(chain.from_iterable(wordfreq.get_frequency_list("en", "large"))):
        if word not in seen and latin_word.fullmatch(word):
            seen.add(word)
            yield word


def _normalise_all(words: Iterable[str]) -> list[str]:
    """Normalised words in one go, which is ten times faster: no rule reaches across a space."""
    return normalise(" ".join(words)).split(" ")


def _installed_packages() -> str:
    return " and ".join(f"{package} {metadata.version(package)}" for package in PACKAGES)
