"""How unlikely each word of the Latin script is: -log of its frequency in running text, from wordfreq's lists.

wordfreq 3.1.1's large English list makes 95% of the text, and its small lists of 27 other languages share the rest, so
that ``jalan`` and ``straße`` are words too, only rarer ones. The lists are a frozen release and the result is checked
to the byte.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from functools import cache
from itertools import repeat

from ovocr.base.errors import OvocrError
from ovocr.vocab.kept_file import keep, read_kept
from ovocr.vocab.segmentation.normalisation import normalise
from ovocr.vocab.segmentation.scripts import compile_latin_word

WORDFREQ_VERSION = "3.1.1"
SHA256 = "21051d27783e17b2f3375cab241992c83e44c66ae6f84c2e936974c7359ba212"
_NAME = "word-costs"
# Languages of the Latin script of which wordfreq has a list.
_OTHER_LANGUAGES = "ca cs da de es fi fil fr hu id is it lt lv ms nb nl pl pt ro sh sk sl sv tr vi"
_ENGLISH_SHARE = 0.95
# Words of another language that are rarer than this in its text are left out: among them are the lists' misspellings.
_RAREST = 5e-6
# A cost is stored as a whole number of these.
_STEPS_PER_NAT = 10
# Words with single digits, such as mp3, 3d and b2b; longer numbers are zeros in the list.
_NUMBERED = re.compile(r"(?=.*[a-z])(?:[a-z]+|[0-9](?![0-9]))*")
# Two words that the list takes for one, since people write them so in names and tags. More likely they lost a space.
_GLUED = frozenset({"aswell", "atleast", "happybirthday", "infact", "ofcourse", "thankyou"})


def prepare_word_costs() -> str:
    """The text that ``make_word_costs`` gives, from the user's cache folder or made and left there.

    To be called before processes start that need it, or each of them would make it. Raises OvocrError where wordfreq is
    missing or another release.
    """
    text = read_kept(_NAME, SHA256)
    if text is None:
        text = make_word_costs()
        made = hashlib.sha256(text.encode("utf-8")).hexdigest()
        if made != SHA256:
            raise OvocrError(
                f"the costs of words have sha256 {made}, not {SHA256}: pip install wordfreq=={WORDFREQ_VERSION}"
            )
        keep(_NAME, SHA256, text)
    return text


@cache
def load_word_costs() -> dict[str, float]:
    """Cost of each known word, in nats. The process's one, 0.2 s and 60 MB; three seconds the first time of all.

    Raises OvocrError where wordfreq is missing or another release.
    """
    costs: dict[str, float] = {}
    for line in prepare_word_costs().split("\n")[:-1]:
        steps, *words = line.split(" ")
        costs.update(zip(words, repeat(int(steps) / _STEPS_PER_NAT)))
    return costs


def make_word_costs() -> str:
    """A line for each cost, in steps, and after it the words of that cost in code point order."""
    by_cost: dict[int, list[str]] = {}
    for word, share in sorted(_shares().items()):
        by_cost.setdefault(round(-math.log(share) * _STEPS_PER_NAT), []).append(word)
    return "".join(f"{cost} {' '.join(words)}\n" for cost, words in sorted(by_cost.items()))


def _shares() -> dict[str, float]:
    """Each word's share of running text."""
    shares: dict[str, float] = {}
    languages = _OTHER_LANGUAGES.split()
    for language in languages:
        for word, frequency in _frequencies(language, "small"):
            if frequency < _RAREST:
                break
            shares[word] = shares.get(word, 0.0) + frequency * (1 - _ENGLISH_SHARE) / len(languages)
    for word, frequency in _frequencies("en", "large"):
        shares[word] = shares.get(word, 0.0) + frequency * _ENGLISH_SHARE
    return {word: share for word, share in shares.items() if word not in _GLUED}


def _frequencies(language: str, size: str) -> Iterator[tuple[str, float]]:
    """Normalised words of one of wordfreq's lists and their frequencies, from frequent to rare."""
    try:
        import wordfreq
    except ImportError as error:
        raise OvocrError(f"finding words needs wordfreq: pip install wordfreq=={WORDFREQ_VERSION}") from error
    latin_word = compile_latin_word()
    # Of the list with index i all words have the frequency 10 ** (-i / 100): wordfreq's cBpack format.
    for centibels, words in enumerate(wordfreq.get_frequency_list(language, size)):
        if words:
            # In one go, which is ten times faster: no rule reaches across a space.
            for word in normalise(" ".join(words)).split(" "):
                if latin_word.fullmatch(word) or _NUMBERED.fullmatch(word):
                    yield word, 10 ** (-centibels / 100)
