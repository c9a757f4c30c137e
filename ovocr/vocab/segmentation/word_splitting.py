"""Splits a run of Latin letters that lost its spaces: ``howareyou`` is how, are, you.

A run is split if its parts are far likelier than the whole. ``word_costs`` gives the cost of listed words. An unlisted
word costs 20 nats, plus 2 for each of its first eight letters and 3 for each further letter: names are short, and a run
that is too long for a word has lost its spaces. Parts of one or two letters cost more than their frequency says,
because any run can be split into them. In a line with spaces a run is usually one word, so the parts must be likelier
by a margin that grows with the run's length: other languages have long words that no list has.
"""

from functools import lru_cache
from math import inf

from ovocr.vocab.segmentation.word_costs import load_word_costs

SHORTEST_RUN = 4
# Longer runs are not text: no recognised line had this many letters.
LONGEST_RUN = 400
_LONGEST_PART = 24

# Costs in nats.
_UNLISTED = 20.0
_UNLISTED_LETTER = 2.0
_UNLISTED_LETTER_BEYOND = 3.0
_COMMON_LETTERS = 8
_POSSESSIVE = 5.0
_ONE_LETTER = {"a": 3.0, "i": 5.0}
_OTHER_LETTER = 10.0
_TWO_LETTERS = 2.0
# The parts must be likelier than the whole by these margins, in nats.
_LISTED_MARGIN = 2.0
_SPACED_MARGIN = 4.0
_SPACED_MARGIN_LETTER = 1.5


class LatinSplitter:
    """Splits runs of Latin letters, with apostrophes inside, into words; most runs are one word."""

    def __init__(self) -> None:
        self._costs = load_word_costs()
        self._short_parts = {
            word: cost + _short_part_cost(word) for word, cost in self._costs.items() if len(word) <= 2
        }
        self._unlisted_parts = [_unlisted_cost(letters) for letters in range(_LONGEST_PART + 1)]
        self._unlisted_parts[1] += _OTHER_LETTER
        self._unlisted_parts[2] += _TWO_LETTERS
        # Most runs are common words, which are repeated in every line.
        self._parts = lru_cache(maxsize=65536)(self._likeliest_parts)

    def is_listed(self, word: str) -> bool:
        """Returns True if the word, or the word without 's, is listed."""
        return word in self._costs or (word.endswith("'s") and word[:-2] in self._costs)

    def split(self, run: str, *, spaced: bool) -> tuple[str, ...]:
        """Returns the words of a normalised run. Joined, they give the run. spaced: True if its line has spaces."""
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
        """Returns the cost of a listed or unlisted word: -log of its probability, in nats."""
        listed = self._costs.get(word)
        if listed is None and word.endswith("'s"):
            stem = self._costs.get(word[:-2])
            listed = stem + _POSSESSIVE if stem is not None else None
        if listed is not None:
            return listed
        return _unlisted_cost(len(word))

    def _likeliest_parts(self, run: str) -> tuple[tuple[str, ...], float]:
        """Returns the likeliest parts and by how many nats they are likelier than the whole. Viterbi's algorithm."""
        best = [0.0]  # best[end]: cost of the likeliest parts of run[:end]
        starts = [0]  # starts[end]: start of the last of these parts
        listed, short, unlisted = self._costs.get, self._short_parts.get, self._unlisted_parts
        plain = "'" not in run
        # Inlined for speed: this loop takes most of the time on text with unlisted words.
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
    """Returns the extra cost of a part of one or two letters."""
    if len(part) == 1:
        return _ONE_LETTER.get(part, _OTHER_LETTER)
    return _TWO_LETTERS if len(part) == 2 else 0.0


def _unlisted_cost(letters: int) -> float:
    common = min(letters, _COMMON_LETTERS)
    return _UNLISTED + _UNLISTED_LETTER * common + _UNLISTED_LETTER_BEYOND * (letters - common)
