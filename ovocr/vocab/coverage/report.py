"""A coverage report on one vocabulary or two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ovocr.dataset.text import TextShard
from ovocr.vocab.coverage.corpus_words import CorpusWord
from ovocr.vocab.coverage.figures import Comparison, Coverage
from ovocr.vocab.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class NamedVocabulary:
    """A vocabulary and the user's name for it."""

    name: str
    vocabulary: Vocabulary


@dataclass(frozen=True, kw_only=True)
class FrequentWords:
    """The most frequent words of the corpus, for lookup, and all words in the lists of the report.

    vocabularies: the vocabularies with the segmentation of these words. words: in descending order of frequency.
    ranks: rank of each word among all words, from 1; None if the word is not among the most frequent.
    distinct_words, tokens: counts of the whole corpus.
    """

    vocabularies: tuple[NamedVocabulary, ...]
    words: Sequence[CorpusWord]
    ranks: Sequence[int | None]
    distinct_words: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """A coverage report. coverages: one per vocabulary. comparison: None if there is only one vocabulary.

    frequent: one entry per segmentation of the vocabularies. shards: the corpus's shards, in order.
    """

    coverages: tuple[Coverage, ...]
    comparison: Comparison | None
    frequent: tuple[FrequentWords, ...]
    shards: Sequence[TextShard]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures of the vocabulary; for two, "vocabularies" with the figures of each, and "comparison"."""
        if self.comparison is None:
            return self.coverages[0].to_json()
        return {
            "vocabularies": [coverage.to_json() for coverage in self.coverages],
            "comparison": self.comparison.to_json(),
        }
