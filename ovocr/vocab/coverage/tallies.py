"""Running sums over the distinct words of a corpus. They do not keep the words."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ovocr.vocab.coverage.corpus_words import CorpusWord, TopWords
from ovocr.vocab.coverage.figures import ScriptCoverage, share
from ovocr.vocab.coverage.limits import letter_level
from ovocr.vocab.vocabulary import Vocabulary
from ovocr.vocab.word_script import script_of


@dataclass
class CorpusTally:
    """Sums over all words. words_by_tokens: maps n to the number of words that occur n times.

    words_by_letters: number of words by their level among MIN_LETTERS.
    """

    top: TopWords
    tokens: int = 0
    words: int = 0
    words_by_tokens: Counter[int] = field(default_factory=Counter)
    words_by_letters: Counter[int] = field(default_factory=Counter)

    def add(self, found: CorpusWord) -> None:
        """Adds a word."""
        self.tokens += found.tokens
        self.words += 1
        self.words_by_tokens[found.tokens] += 1
        self.words_by_letters[letter_level(found.word)] += 1
        self.top.add(found)


@dataclass
class ScriptTally:
    """Sums over the words of one script. tokens_in, words_in: sums over its words in the vocabulary."""

    tokens: int = 0
    tokens_in: int = 0
    words: int = 0
    words_in: int = 0

    def coverage(self, script: str, all_tokens: int) -> ScriptCoverage:
        """Returns the figures of the script. all_tokens: number of tokens of the corpus."""
        return ScriptCoverage(
            script=script,
            tokens=self.tokens,
            token_share=share(self.tokens, all_tokens),
            tokens_in_vocabulary=self.tokens_in,
            token_coverage=share(self.tokens_in, self.tokens),
            distinct_words=self.words,
            distinct_in_vocabulary=self.words_in,
        )


class VocabularyTally:
    """Sums over the words that a vocabulary has and lacks. Memory: two numbers per class and ``listed`` words.

    tokens, images: int64 [classes], counts of each class. left_out: the most frequent words that the vocabulary lacks.
    covered: the most frequent words that it has. words_by_letters: number of words that it has, as in CorpusTally.
    only_in_this: the most frequent words that it has and ``other`` lacks. words_only_in_this, tokens_only_in_this: sums
    over all such words.
    """

    def __init__(self, vocabulary: Vocabulary, other: Vocabulary | None, listed: int) -> None:
        self._vocabulary = vocabulary
        self._other = other
        self.tokens = np.zeros(len(vocabulary), np.int64)
        self.images = np.zeros(len(vocabulary), np.int64)
        self.scripts: dict[str, ScriptTally] = {}
        self.left_out = TopWords(listed)
        self.covered = TopWords(listed)
        self.words_by_letters: Counter[int] = Counter()
        self.only_in_this = TopWords(listed)
        self.words_only_in_this = 0
        self.tokens_only_in_this = 0

    def add(self, found: CorpusWord) -> None:
        """Adds a word."""
        class_id = self._vocabulary.id(found.word)
        script = self.scripts.setdefault(script_of(found.word), ScriptTally())
        script.tokens += found.tokens
        script.words += 1
        if class_id is None:
            self.left_out.add(found)
            return
        script.tokens_in += found.tokens
        script.words_in += 1
        self.covered.add(found)
        self.words_by_letters[letter_level(found.word)] += 1
        self.tokens[class_id] = found.tokens
        self.images[class_id] = found.images
        if self._other is not None and found.word not in self._other:
            self.only_in_this.add(found)
            self.words_only_in_this += 1
            self.tokens_only_in_this += found.tokens
