"""The figures of a coverage report. What each means to a reader: docs/vocabulary.md.

Tokens are words with multiplicity. A share of nothing is 0.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any


def share(part: int, whole: int) -> float:
    """From 0 to 1; 0 of nothing."""
    return part / whole if whole else 0.0


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """The share of tokens that the first ``size`` words of a vocabulary cover, and any ``size`` words could at best.

    best: the share of the ``size`` most frequent words of the corpus.
    """

    size: int
    token_coverage: float
    best: float


@dataclass(frozen=True, kw_only=True)
class FrequencyBand:
    """How many classes have so many tokens, and how many stand in so many images. band: such as "0" or "10-99"."""

    band: str
    classes_by_tokens: int
    classes_by_images: int


@dataclass(frozen=True, kw_only=True)
class RankPoint:
    """The class of this rank by tokens and how many it has; the class of this rank by images, likewise."""

    rank: int
    tokens: int
    images: int


@dataclass(frozen=True, kw_only=True)
class WordsPerImage:
    """Distinct in-vocabulary words of an image, over all images.

    percentiles: percent of the images -> the least number of words that so many of them do not exceed. histogram:
    images by their number of words, in bins such as "0" or "10-19".
    """

    mean: float
    percentiles: dict[str, int]
    histogram: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ScriptCoverage:
    """The words of one script (``ovocr.vocab.word_script``). token_share: of all tokens of the corpus."""

    script: str
    tokens: int
    token_share: float
    tokens_in_vocabulary: int
    token_coverage: float
    distinct_words: int
    distinct_in_vocabulary: int


@dataclass(frozen=True, kw_only=True)
class SourceCoverage:
    """A data set, or a part of one: an input source, or a shard where all shards are of one source.

    parts: of a data set that has several.
    """

    name: str
    shards: int
    images: int
    images_without_words: int
    tokens: int
    tokens_in_vocabulary: int
    token_coverage: float
    parts: "tuple[SourceCoverage, ...]" = ()


@dataclass(frozen=True, kw_only=True)
class ListedWord:
    """A word of the corpus, and an image that has it. count: its tokens; example: the image's key in the data set."""

    word: str
    count: int
    images: int
    data_set: str
    example: str


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Counts over all images that were read.

    vocabulary: as the user calls it; segmentation: how words were made, which goes with the vocabulary.
    images_without_text: no line was found. images_without_any_word: lines, but no word. images_outside_vocabulary:
    words, but none in the vocabulary. images_without_words: no word in the vocabulary, the sum of these three.
    images_by_words: images by how many distinct words of theirs are in the vocabulary ("0", "1-9", "10-99", "100+").
    tokens: words with multiplicity; distinct_words: without; ..._in_vocabulary: those that the vocabulary has.
    by_size: at 1, 2, 5, 10 ... words up to the vocabulary's size. rank_frequency: classes that occur, at ranks a
    twelfth of a decade apart. scripts, left_out: by falling tokens. data_sets: in the order given.
    """

    vocabulary: str
    vocabulary_size: int
    vocabulary_sha256: str
    segmentation: dict[str, Any]
    images: int
    images_without_text: int
    images_without_any_word: int
    images_outside_vocabulary: int
    images_without_words: int
    images_by_words: dict[str, int]
    words_per_image: WordsPerImage
    tokens: int
    tokens_in_vocabulary: int
    token_coverage: float
    distinct_words: int
    distinct_in_vocabulary: int
    distinct_coverage: float
    by_size: tuple[SizePoint, ...]
    class_frequency: tuple[FrequencyBand, ...]
    rank_frequency: tuple[RankPoint, ...]
    scripts: tuple[ScriptCoverage, ...]
    data_sets: tuple[SourceCoverage, ...]
    left_out: tuple[ListedWord, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields above by their names, as JSON has them: tuples are lists."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What one vocabulary has and the other lacks.

    vocabulary: that has it. classes: words of it that the other lacks. words, tokens: those of them that the corpus
    has, counted as this vocabulary's segmentation makes words. listed: the most frequent.
    """

    vocabulary: str
    classes: int
    words: int
    tokens: int
    listed: tuple[ListedWord, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of two vocabularies. same_segmentation: whether both make words alike, so that tokens can be compared one by one.

    shared_classes: words that both have. differences: what only the first has, and what only the second.
    """

    same_segmentation: bool
    shared_classes: int
    differences: tuple[Difference, Difference]

    def to_json(self) -> dict[str, Any]:
        """The fields above by their names, as JSON has them: tuples are lists."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value
