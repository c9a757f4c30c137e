"""Words of a run of Latin letters in which spaces were lost: ``howareyou`` is how, are, you.

A run is cut where that makes its parts far likelier than the whole. How likely a word is says ``word_costs``; one that
is not listed costs 20 nats, 2 more for each of its first eight letters and 3 more for each further one: names are
short, and what is longer than a word can be has lost its spaces. Very short parts cost more than their frequency says,
since anything can be cut into those. In a line that has spaces a run is a word as a rule, and must be the more unlikely
to be cut, the longer it is: other languages have long words that no list has.
"""

from functools import lru_cache
from math import inf

from ovocr.vocab.segmentation.word_costs import load_word_costs

SHORTEST_RUN = 4
# Longer ones are no text: nothing that was read in one line has so many letters.
LONGEST_RUN = 400
_LONGEST_PART = 24

# In nats.
_UNLISTED = 20.0
_UNLISTED_LETTER = 2.0
_UNLISTED_LETTER_BEYOND = 3.0
_COMMON_LETTERS = 8
_POSSESSIVE = 5.0
_ONE_LETTER = {"a": 3.0, "i": 5.0}
_ANOTHER_LETTER = 10.0
_TWO_LETTERS = 2.0
# By how much the parts must be likelier than the whole.
_LISTED_MARGIN = 2.0
_SPACED_MARGIN = 4.0
_SPACED_MARGIN_LETTER = 1.5


class LatinSplitter:
    """Cuts runs of Latin letters, with apostrophes inside, into words; as a rule into one."""

    def __init__(self) -> None:
        self._costs = load_word_costs()
        self._short_parts = {
            word: cost + _short_part_cost(word) for word, cost in self._costs.items() if len(word) <= 2
        }
        self._unlisted_parts = [_unlisted_cost(letters) for letters in range(_LONGEST_PART + 1)]
        self._unlisted_parts[1] += _ANOTHER_LETTER
        self._unlisted_parts[2] += _TWO_LETTERS
        # Most runs come again: those of a language's common words in every line.
        self._parts = lru_cache(maxsize=65536)(self._cut)

    def is_listed(self, word: str) -> bool:
        """Is it a word of the lists, or one with 's?"""
        return word in self._costs or (word.endswith("'s") and word[:-2] in self._costs)

    def split(self, run: str, *, spaced: bool) -> tuple[str, ...]:
        """The words of a normalised run; joined they are the run. spaced: whether its line has spaces."""
        if not SHORTEST_RUN <= len(run) <= LONGEST_RUN:
            return (run,)
        parts, gain = self._parts(run)
        if len(parts) == 1:
            return parts
        if self.is_listed(run):
            margin = _LISTED_MARGIN
        else:
            margin = _SPACED_MARGIN + _SPACED_MARGIN_LETTER * len(run) if spaced else 0.0
        return parts if gain > margin else (run,)

    def cost(self, word: str) -> float:
        """How unlikely the word is, in nats, whether or not it is listed."""
        listed = self._costs.get(word)
        if listed is None and word.endswith("'s"):
            stem = self._costs.get(word[:-2])
            listed = stem + _POSSESSIVE if stem is not None else None
        if listed is not None:
            return listed
        return _unlisted_cost(len(word))

    def _cut(self, run: str) -> tuple[tuple[str, ...], float]:
        """The likeliest parts, and by how many nats they are likelier than the whole. Viterbi's algorithm."""
        best = [0.0]  # cost of the likeliest parts of the first letters
        starts = [0]  # where the last of these parts starts
        listed, short, unlisted = self._costs.get, self._short_parts.get, self._unlisted_parts
        plain = "'" not in run
        # Written out: this loop is most of the time that text of unlisted words takes.
        for end in range(1, len(run) + 1):
            lowest, lowest_start = inf, 0
            for start in range(max(0, end - _LONGEST_PART), end):
                part = run[start:end]
                if plain:
                    cost = (listed if end - start > 2 else short)(part)
                    total = best[start] + (unlisted[end - start] if cost is None else cost)
                else:
                    total = best[start] + self._part_cost(part)
                if total < lowest:
                    lowest, lowest_start = total, start
            best.append(lowest)
            starts.append(lowest_start)
        parts: list[str] = []
        end = len(run)
        while end:
            parts.append(run[starts[end] : end])
            end = starts[end]
        return tuple(reversed(parts)), self.cost(run) - best[-1]

    def _part_cost(self, part: str) -> float:
        return inf if part[0] == "'" or part[-1] == "'" else self.cost(part) + _short_part_cost(part)


def _short_part_cost(part: str) -> float:
    """What a very short part costs more than it does as a word."""
    if len(part) == 1:
        return _ONE_LETTER.get(part, _ANOTHER_LETTER)
    return _TWO_LETTERS if len(part) == 2 else 0.0


def _unlisted_cost(letters: int) -> float:
    common = min(letters, _COMMON_LETTERS)
    return _UNLISTED + _UNLISTED_LETTER * common + _UNLISTED_LETTER_BEYOND * (letters - common)
