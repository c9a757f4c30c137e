"""The text of rendered pages: short lines that OCR read in the training documents, and single words."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from wordfreq import get_frequency_dict

LONGEST_PHRASE = 24  # characters
COMMON_WORDS = 800  # the most frequent words of English
_WORD = re.compile("[A-Za-z]{2,}")


@dataclass(frozen=True)
class PageText:
    """Phrases that are drawn unchanged except for digits, and words, each with its probability."""

    phrases: Sequence[str]
    words: Sequence[str]
    cumulative: Sequence[float]

    @classmethod
    def of(cls, lines: Iterable[str]) -> "PageText":
        """Creates the text from the lines of documents.

        Half of the words are common English words, half words of the lines. Frequent words are drawn more often than
        rare ones, but less than in proportion.
        """
        lines = list(lines)
        counts = Counter(word.lower() for line in lines for word in _WORD.findall(line))
        weights: Counter[str] = Counter()
        for part in (_shares({word: count for word, count in counts.items() if count > 1}), _shares(_common_words())):
            weights.update(part)
        words = dict(sorted(weights.items()))
        phrases = sorted({line for line in lines if len(line) <= LONGEST_PHRASE and re.search("[A-Za-z]", line)})
        phrases = [phrase for phrase in phrases if phrase.isascii()]
        return cls(phrases, list(words), list(accumulate(words.values())))

    def draw_phrase(self, dice: random.Random) -> str:
        """Returns a random phrase with random digits."""
        return re.sub("[0-9]", lambda _: str(dice.randrange(10)), dice.choice(self.phrases))

    def draw_words(self, dice: random.Random, count: int) -> list[str]:
        """Returns this many independent words, in lower case."""
        return dice.choices(self.words, cum_weights=self.cumulative, k=count)


def _common_words() -> dict[str, float]:
    frequencies = get_frequency_dict("en")
    words = [word for word in frequencies if word.isascii() and word.isalpha() and len(word) > 1]
    return {word: frequencies[word] for word in sorted(words, key=lambda word: -frequencies[word])[:COMMON_WORDS]}


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    """Returns probabilities in proportion to the square roots of the counts."""
    total = sum(count**0.5 for count in counts.values())
    return {word: count**0.5 / total for word, count in counts.items()}
