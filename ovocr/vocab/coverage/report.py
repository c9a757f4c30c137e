"""A coverage report on one vocabulary or two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text import TextShard
from ovocr.views.legibility import Legibility
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
    legibility: maps each data set to counts of its stored tags, words of its own vocabulary.
    holdout: share of the images that was measured, the held-out ones; None if all were. The tags of legibility are
    always those of all images. warnings: sentences about vocabularies that were built from the corpus, and about data
    sets whose tags are not all words.
    """

    coverages: tuple[Coverage, ...]
    comparison: Comparison | None
    frequent: tuple[FrequentWords, ...]
    shards: Sequence[TextShard]
    legibility: Mapping[LabelledDataSet, Legibility]
    holdout: float | None = None
    warnings: Sequence[str] = ()

    @property
    def legibility_of_all(self) -> Legibility:
        """Counts of the stored tags of all data sets."""
        return Legibility.sum(self.legibility.values())

    def to_json(self) -> dict[str, Any]:
        """Returns the figures of the vocabulary; for two, "vocabularies" with the figures of each, and "comparison".

        Both have "legibility": the figures of all data sets, and of each of them in "data_sets"; "holdout"; "warnings".
        """
        data_sets = [{"name": for_terminal(str(name)), **own.to_json()} for name, own in self.legibility.items()]
        legibility = {**self.legibility_of_all.to_json(), "data_sets": data_sets}
        measured = {"holdout": self.holdout, "warnings": list(self.warnings)}
        if self.comparison is None:
            return {**self.coverages[0].to_json(), "legibility": legibility, **measured}
        return {
            "vocabularies": [coverage.to_json() for coverage in self.coverages],
            "comparison": self.comparison.to_json(),
            "legibility": legibility,
            **measured,
        }
