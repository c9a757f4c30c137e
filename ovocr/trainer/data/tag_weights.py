"""Weights of the tags of a head: they share the target of the objective "soft" among an image's positives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.plural import counted
from ovocr.trainer.config.heads import OcrHeadConfig
from ovocr.trainer.config.sections import RunConfig
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_frequencies import WordFrequencies

# Frequencies and a vocabulary that belong together may differ in size, but share most words of the smaller one.
_LEAST_SHARE = 0.1


@dataclass(frozen=True)
class TagWeights:
    """The weight of each class of a vocabulary: the inverse document frequency of its word."""

    frequencies: WordFrequencies
    vocabulary: Vocabulary

    @classmethod
    def load(cls, head: str, path: Path, vocabulary: Vocabulary | None) -> "TagWeights":
        """Loads the word frequencies of a head.

        Raises UsageError, naming the setting, if the file cannot be read or is about other words than the vocabulary's,
        or if there is no vocabulary.
        """
        where = f"heads.{head}.tag_frequencies"
        if vocabulary is None:
            raise UsageError(f"{where}: the class ids of this head have no words; leave tag_weights out")
        try:
            frequencies = WordFrequencies.load(path)
        except OvocrError as error:
            raise UsageError(f"{where}: {error}") from error
        known = sum(vocabulary.word(number) in frequencies for number in range(len(vocabulary)))
        if known <= _LEAST_SHARE * min(len(vocabulary), len(frequencies)):
            raise UsageError(
                f"{where}: {path}: has {counted(len(frequencies), 'word')}, of which {known:,} are among the "
                f"{counted(len(vocabulary), 'word')} of the head's vocabulary; give the file of a data set with this "
                "vocabulary"
            )
        return cls(frequencies, vocabulary)

    def tensor(self) -> Tensor:
        """Returns the weight of each class, at least 1, float32 [C]."""
        words = map(self.vocabulary.word, range(len(self.vocabulary)))
        return torch.tensor([self.frequencies.weight(word) for word in words], dtype=torch.float32)


def load_tag_weights(config: RunConfig, vocabularies: Mapping[str, Vocabulary | None]) -> dict[str, TagWeights]:
    """Loads the weights of the heads with ``tag_weights = "idf"``; see ``TagWeights.load``. vocabularies: by head."""
    return {
        name: TagWeights.load(name, head.tag_frequencies, vocabularies[name])
        for name, head in config.heads.items()
        if isinstance(head, OcrHeadConfig) and head.tag_frequencies is not None
    }
