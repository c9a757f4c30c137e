"""A coverage report: one vocabulary, or two side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ovocr.dataset.text import TextShard
from ovocr.vocab.coverage.figures import Comparison, Coverage
from ovocr.vocab.coverage.found_words import FoundWord
from ovocr.vocab.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class NamedVocabulary:
    """A vocabulary, and what the user calls it."""

    name: str
    vocabulary: Vocabulary


@dataclass(frozen=True, kw_only=True)
class FrequentWords:
    """The most frequent words of the corpus, for looking them up, and all that the lists of the report name.

    vocabularies: those whose segmentation makes these words. words: by falling frequency. ranks: of each of them among
    all words, from 1; None where it is not among the most frequent. distinct_words, tokens: of the whole corpus.
    """

    vocabularies: tuple[NamedVocabulary, ...]
    words: Sequence[FoundWord]
    ranks: Sequence[int | None]
    distinct_words: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """coverages: of each vocabulary. comparison: where there are two. shards: of the corpus, in order.

    frequent: for each way of making words that the vocabularies have.
    """

    coverages: tuple[Coverage, ...]
    comparison: Comparison | None
    frequent: tuple[FrequentWords, ...]
    shards: Sequence[TextShard]

    def to_json(self) -> dict[str, Any]:
        """The figures of the vocabulary; with two, those of each in "vocabularies", and "comparison"."""
        if self.comparison is None:
            return self.coverages[0].to_json()
        return {
            "vocabularies": [coverage.to_json() for coverage in self.coverages],
            "comparison": self.comparison.to_json(),
        }
