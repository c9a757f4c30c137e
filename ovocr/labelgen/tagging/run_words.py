"""The words of a run: a vocabulary, and word frequencies if the tag policy needs them."""

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.plural import counted
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import WordsEntry
from ovocr.recordio import MAX_CLASS_ID
from ovocr.vocab import Segmentation, Vocabulary
from ovocr.vocab.lexicon import LEXICON
from ovocr.vocab.segmentation.normalisation import normalise
from ovocr.vocab.word_frequencies import WordFrequencies


@dataclass(frozen=True)
class Words:
    """The words of a data set. frequencies: None unless the policy is idf."""

    vocabulary: Vocabulary
    frequencies: WordFrequencies | None = None

    def describe(self) -> WordsEntry:
        """Returns the words' part of the manifest."""
        return WordsEntry(
            size=len(self.vocabulary),
            sha256=self.vocabulary.sha256,
            segmentation=Segmentation.of(self.vocabulary.settings).describe(),
            frequencies=None if self.frequencies is None else self.frequencies.describe(),
        )

    def save(self, data_set: LabelledDataSet) -> None:
        """Writes the files of the words. Raises OSError."""
        self.vocabulary.save(data_set.vocabulary_path)
        if self.frequencies is not None:
            self.frequencies.save(data_set.frequencies_path)


def stored_words(data_set: LabelledDataSet) -> WordsEntry:
    """Returns the words' part of the manifest. Raises OvocrError if the data set is packed."""
    words = data_set.manifest().words
    if words is None:
        raise OvocrError(f"{data_set}: has no vocabulary, because it was packed with class ids from a table")
    return words


def stored_vocabulary(data_set: LabelledDataSet, words: WordsEntry | None = None) -> Vocabulary:
    """Returns the vocabulary of a data set, cached per process. Callers must not change it.

    words: the words' part of the manifest, if the caller has read it. Raises OvocrError if the file is not the
    vocabulary that the manifest names.
    """
    return _load_stored(data_set.vocabulary_path, (words or stored_words(data_set)).sha256)


def stored_frequencies(data_set: LabelledDataSet) -> WordFrequencies:
    """Returns the word frequencies of a data set. Raises OvocrError if the manifest names a different file."""
    frequencies = WordFrequencies.load(data_set.frequencies_path)
    if frequencies.describe() != stored_words(data_set).frequencies:
        raise OvocrError(f"{data_set.frequencies_path}: is not the file that manifest.json names; restore that file")
    return frequencies


@lru_cache(maxsize=2)
def _load_stored(path: Path, sha256: str) -> Vocabulary:
    vocabulary = Vocabulary.load(path)
    if vocabulary.sha256 != sha256:
        raise OvocrError(f"{path}: is not the vocabulary that manifest.json names (sha256 {sha256}); restore that file")
    return vocabulary


def load_vocabulary(name: str | Path) -> Vocabulary:
    """Loads a vocabulary. Raises OvocrError if it cannot be read, UsageError if its words cannot be classes."""
    vocabulary = Vocabulary.load(name)
    if not 0 < len(vocabulary) <= MAX_CLASS_ID + 1:
        raise UsageError(f"--vocab {name}: {counted(len(vocabulary), 'word')}; must be from 1 to {MAX_CLASS_ID + 1:,}")
    if name != LEXICON:
        _check_words_can_occur(name, vocabulary)
    return vocabulary


def with_han(vocabulary: Vocabulary, han: str | None) -> Vocabulary:
    """Returns the vocabulary with a different ``han`` of ``Segmentation``; None keeps its own."""
    own = Segmentation.of(vocabulary.settings)
    if han is None or han == own.han:
        return vocabulary
    words = [vocabulary.word(id) for id in range(len(vocabulary))]
    return Vocabulary(words, {**vocabulary.settings, "segmenter": dataclasses.replace(own, han=han).describe()})


def _check_words_can_occur(name: str | Path, vocabulary: Vocabulary) -> None:
    """Raises UsageError if a word is not normalised: it is never found, so its class would have no images."""
    for id in range(len(vocabulary)):
        word = vocabulary.word(id)
        if normalise(word) != word:
            raise UsageError(f"--vocab {name}: line {id + 1}: {word!r} never occurs; write it {normalise(word)!r}")
