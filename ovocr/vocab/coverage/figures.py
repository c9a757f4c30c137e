"""The figures of a coverage report. docs/vocabulary.md explains them.

Tokens are words with multiplicity.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any


def share(part: int, whole: int) -> float:
    """Returns part / whole, from 0 to 1; 0 if ``whole`` is 0."""
    return part / whole if whole else 0.0


def _as_json(figures: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass in the types of JSON: tuples become lists."""
    value: dict[str, Any] = json.loads(json.dumps(asdict(figures)))
    return value


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """Coverage by the first ``size`` words of a vocabulary.

    token_coverage: the share of tokens that these words cover.
    best: the share of the ``size`` most frequent words of the corpus, which is the maximum for any ``size`` words.
    """

    size: int
    token_coverage: float
    best: float


@dataclass(frozen=True, kw_only=True)
class SizeNeeded:
    """The number of words that covers a share of the tokens.

    size: words of a vocabulary in its order; None if the whole vocabulary does not cover the share.
    best: most frequent words of the corpus, which is the minimum for any vocabulary; None if there are no words.
    """

    share: float
    size: int | None
    best: int | None


@dataclass(frozen=True, kw_only=True)
class ScoreBand:
    """The tokens in lines with a score from ``low`` to below ``high``, or to 1 in the last band."""

    low: float
    high: float
    tokens: int
    token_share: float
    tokens_in_vocabulary: int
    token_coverage: float


@dataclass(frozen=True, kw_only=True)
class KeptWords:
    """What a limit of ``build-labels`` keeps.

    limit: value of the option. tokens: tokens that meet it. token_share: their share of all tokens.
    tokens_in_vocabulary: tokens of them in the vocabulary. token_coverage: share of the kept tokens.
    images: images with a word in the vocabulary that meets it. image_share: their share of the images with a word in
    the vocabulary.
    """

    limit: float
    tokens: int
    token_share: float
    tokens_in_vocabulary: int
    token_coverage: float
    images: int
    image_share: float


@dataclass(frozen=True, kw_only=True)
class LineScores:
    """The words by the score of their lines. tokens_without_score: tokens of given text without scores, not included.

    bands, kept: empty if no token has a score.
    """

    tokens_without_score: int
    bands: tuple[ScoreBand, ...]
    kept: tuple[KeptWords, ...]


@dataclass(frozen=True, kw_only=True)
class LetterGroup:
    """Words of alphabetic scripts with this number of letters."""

    letters: int
    tokens: int
    token_share: float
    tokens_in_vocabulary: int
    token_coverage: float
    distinct_words: int
    distinct_in_vocabulary: int


@dataclass(frozen=True, kw_only=True)
class ShortWords:
    """The words of one and of two letters, and what ``--min-letters`` keeps."""

    groups: tuple[LetterGroup, ...]
    kept: tuple[KeptWords, ...]


@dataclass(frozen=True, kw_only=True)
class SlotShortage:
    """Images with more distinct words in the vocabulary than their data set has slots.

    slots: numbers of slots of the data sets. image_share: share of all images.
    words: words without a slot, summed over these images. word_share: share of the distinct words of all images.
    """

    slots: tuple[int, ...]
    images: int
    image_share: float
    words: int
    word_share: float


@dataclass(frozen=True, kw_only=True)
class FrequencyBand:
    """Number of classes in a band of frequencies, by tokens and by images. band: such as "0" or "10-99"."""

    band: str
    classes_by_tokens: int
    classes_by_images: int


@dataclass(frozen=True, kw_only=True)
class RankPoint:
    """A point of the rank curves: the tokens of the class with this rank by tokens, the images of that by images."""

    rank: int
    tokens: int
    images: int


@dataclass(frozen=True, kw_only=True)
class WordsPerImage:
    """Distinct in-vocabulary words per image, over all images.

    percentiles: maps a percentage of the images to the least number of words that these images do not exceed.
    histogram: number of images by their number of words, in bins such as "0" or "10-19".
    """

    mean: float
    percentiles: dict[str, int]
    histogram: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ScriptCoverage:
    """Words of one script (``ovocr.vocab.word_script``). token_share: the script's share of the corpus's tokens."""

    script: str
    tokens: int
    token_share: float
    tokens_in_vocabulary: int
    token_coverage: float
    distinct_words: int
    distinct_in_vocabulary: int


@dataclass(frozen=True, kw_only=True)
class SourceCoverage:
    """Coverage of a data set or of a part: a source, or a shard if all shards come from one source.

    parts: coverage of each part of a data set; empty if it has only one.
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
    """A word of the corpus and an image with it. count: its tokens. example: the image's key in the data set."""

    word: str
    count: int
    images: int
    data_set: str
    example: str


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The coverage of a corpus by one vocabulary, over all images.

    vocabulary: the user's name for the vocabulary. segmentation: the vocabulary's segmentation settings.
    images_without_text: images without a line. images_without_any_word: images with lines but without a word.
    images_outside_vocabulary: images with words, none of them in the vocabulary. images_without_words: images without a
    word in the vocabulary, the sum of these three.
    images_by_words: images by their number of distinct in-vocabulary words ("0", "1-9", "10-99", "100+").
    tokens: words with multiplicity. distinct_words: words without multiplicity. ..._in_vocabulary: words with a class.
    by_size: coverage of the first 1, 2, 5, 10 ... words, up to the vocabulary's size.
    sizes_needed: numbers of words that cover 90, 95 and 99% of the tokens.
    rank_frequency: classes that occur, at ranks a twelfth of a decade apart.
    scripts, left_out, covered: in descending order of tokens. data_sets: in the given order.
    built_from: data sets of the corpus that the vocabulary was built from. built_with_holdout: the share of the images
    that it was not built from.
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
    sizes_needed: tuple[SizeNeeded, ...]
    class_frequency: tuple[FrequencyBand, ...]
    rank_frequency: tuple[RankPoint, ...]
    scripts: tuple[ScriptCoverage, ...]
    data_sets: tuple[SourceCoverage, ...]
    left_out: tuple[ListedWord, ...]
    covered: tuple[ListedWord, ...]
    line_scores: LineScores
    short_words: ShortWords
    slot_shortage: SlotShortage
    built_from: tuple[str, ...]
    built_with_holdout: float

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return _as_json(self)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Words that one vocabulary has and the other lacks.

    vocabulary: the name of the vocabulary that has them. classes: number of these words.
    words, tokens: number of these words in the corpus, and of their tokens, by this vocabulary's segmentation.
    listed: the most frequent.
    """

    vocabulary: str
    classes: int
    words: int
    tokens: int
    listed: tuple[ListedWord, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Compares two vocabularies. same_segmentation: True if both segment alike, so their tokens are comparable.

    shared_classes: number of words that both have. differences: the words of only the first and of only the second.
    """

    same_segmentation: bool
    shared_classes: int
    differences: tuple[Difference, Difference]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return _as_json(self)
