"""Sums from which follows what ``--min-score`` and ``--min-letters`` would keep of a corpus.

A limit is a score or a number of letters. The *level* of a word is the highest of the given limits that it meets, as an
index: the words that a limit keeps are those of its level and above.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab.coverage.figures import KeptWords, share
from ovocr.vocab.segmentation.segmenter import FoundWord
from ovocr.vocab.word_letters import count_letters

MIN_SCORES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
MIN_LETTERS = (1, 2, 3)


@dataclass(frozen=True)
class LevelCounts:
    """Sums by level. tokens: [levels]. tokens_in: [vocabularies][levels], tokens of words in each vocabulary.

    images: [vocabularies][levels], images by the highest level of their words in the vocabulary; only images with one.
    """

    tokens: list[int]
    tokens_in: list[list[int]]
    images: list[list[int]]

    @classmethod
    def zero(cls, levels: int, vocabularies: int) -> "LevelCounts":
        """Returns the sums of no image."""
        tokens_in, images = ([[0] * levels for _ in range(vocabularies)] for _ in range(2))
        return cls([0] * levels, tokens_in, images)

    def add_image(self, words: Sequence[tuple[str, int, int]], known: Sequence[Collection[str]]) -> None:
        """Adds the words of an image. words: word, level and number of occurrences at this level.

        known: the words of the image that each vocabulary has.
        """
        for _, level, count in words:
            self.tokens[level] += count
        for of_vocabulary, tokens_in, images in zip(known, self.tokens_in, self.images, strict=True):
            highest = -1
            for word, level, count in words:
                if word in of_vocabulary:
                    tokens_in[level] += count
                    highest = max(highest, level)
            if highest >= 0:
                images[highest] += 1

    def __add__(self, other: "LevelCounts") -> "LevelCounts":
        return LevelCounts(
            _add(self.tokens, other.tokens),
            [_add(*pair) for pair in zip(self.tokens_in, other.tokens_in, strict=True)],
            [_add(*pair) for pair in zip(self.images, other.images, strict=True)],
        )

    def kept(self, limits: Sequence[float], vocabulary: int) -> tuple[KeptWords, ...]:
        """Returns what each limit keeps. vocabulary: index of the vocabulary."""
        tokens, tokens_in, images = map(_at_least, (self.tokens, self.tokens_in[vocabulary], self.images[vocabulary]))
        return tuple(
            KeptWords(
                limit=limit,
                tokens=tokens[level],
                token_share=share(tokens[level], tokens[0]),
                tokens_in_vocabulary=tokens_in[level],
                token_coverage=share(tokens_in[level], tokens[level]),
                images=images[level],
                image_share=share(images[level], images[0]),
            )
            for level, limit in enumerate(limits)
        )


def score_levels(words: Iterable[FoundWord], scores: Sequence[float]) -> list[tuple[str, int, int]]:
    """Returns each word with its level among MIN_SCORES. scores: those of the image's lines."""
    levels = [bisect_right(MIN_SCORES, score) - 1 for score in scores]
    return [
        (word.text, levels[word.line] if word.lines == 1 else min(levels[word.line : word.line + word.lines]), 1)
        for word in words
    ]


def letter_levels(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Returns each word with its level among MIN_LETTERS. counts: distinct words with their occurrences."""
    return [(word, letter_level(word), count) for word, count in counts]


def letter_level(word: str) -> int:
    """Returns the level of a word among MIN_LETTERS. A word of a script that is not an alphabet meets all limits."""
    letters = count_letters(word)
    return len(MIN_LETTERS) - 1 if letters is None else max(0, bisect_right(MIN_LETTERS, letters) - 1)


def _add(first: Iterable[int], second: Iterable[int]) -> list[int]:
    return [a + b for a, b in zip(first, second, strict=True)]


def _at_least(by_level: Sequence[int]) -> list[int]:
    """Returns the sums over each level and those above."""
    return list(accumulate(reversed(by_level)))[::-1]


def warn_of_limits(data_sets: Sequence[LabelledDataSet]) -> list[str]:
    """Returns a sentence for each data set whose tags are not all words of its vocabulary that were read."""
    warnings = []
    for data_set in data_sets:
        policy = data_set.manifest().policy
        limits = [
            f"{option} {limit:g}"
            for option, limit, default in (
                ("--min-score", policy.min_score, 0),
                ("--min-letters", policy.min_letters, 1),
            )
            if limit != default
        ]
        if limits:
            warnings.append(
                f"{for_terminal(str(data_set))} was labelled with {' '.join(limits)}, so not all of its words are "
                "tags; the figures of words are those of all text that was read"
            )
    return warnings
