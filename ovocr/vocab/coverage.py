"""How well a vocabulary suits a corpus: which share of the words that were read it has."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovocr.escape import for_terminal
from ovocr.vocab.corpus import find_shards, read_images
from ovocr.vocab.segmentation import Segmentation, segment_lines
from ovocr.vocab.vocabulary import Vocabulary

# Images by their number of distinct in-vocabulary words: the least number of each class, and its name.
WORD_CLASSES = ((100, "100+"), (10, "10-99"), (1, "1-9"), (0, "0"))
LEFT_OUT_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Counts over all images that were read. A share of nothing is 0.

    vocabulary_size, vocabulary_sha256: the vocabulary that was measured.
    images: images that were read; images_without_text: no line was found in them; images_without_words: no word of
    theirs is in the vocabulary (those without text too); images_by_words: images by how many distinct words of theirs
    are in the vocabulary ("0", "1-9", "10-99", "100+").
    tokens: words with multiplicity; distinct_words: without; ..._in_vocabulary: those that the vocabulary has;
    token_coverage, distinct_coverage: their shares.
    left_out: the most frequent words that the vocabulary does not have, with their counts.
    """

    vocabulary_size: int
    vocabulary_sha256: str
    images: int
    images_without_text: int
    images_without_words: int
    images_by_words: dict[str, int]
    tokens: int
    tokens_in_vocabulary: int
    token_coverage: float
    distinct_words: int
    distinct_in_vocabulary: int
    distinct_coverage: float
    left_out: tuple[tuple[str, int], ...]

    def to_json(self) -> dict[str, Any]:
        """The fields above by their names; left_out as a list of {"word", "count"}."""
        return {**asdict(self), "left_out": [{"word": word, "count": count} for word, count in self.left_out]}

    def format_table(self) -> str:
        """The counts as lines for a terminal, without a line end after the last."""
        rows = [
            ("images", self.images, None),
            ("  without text", self.images_without_text, self.images),
            *(
                (f"  with {name} words in vocabulary", count, self.images)
                for name, count in self.images_by_words.items()
            ),
            ("words", self.tokens, None),
            ("  in vocabulary", self.tokens_in_vocabulary, self.tokens),
            ("distinct words", self.distinct_words, None),
            ("  in vocabulary", self.distinct_in_vocabulary, self.distinct_words),
            ("vocabulary", self.vocabulary_size, None),
            ("  found in these images", self.distinct_in_vocabulary, self.vocabulary_size),
        ]
        lines = [_format_row(*row) for row in rows]
        if self.left_out:
            lines.append("most frequent words left out")
            lines += [f"  {count:>10,}  {for_terminal(word)}" for word, count in self.left_out]
        return "\n".join(lines)


def measure_coverage(roots: Iterable[Path], vocabulary: Vocabulary) -> Coverage:
    """Segment the stored text of all finished shards of the data sets ``roots`` and look its words up.

    Memory: a few images and the distinct words. Raises OvocrError where a root is no data set, has no finished shard or
    its stored text cannot be read.
    """
    tokens: Counter[str] = Counter()
    images_by_words = dict.fromkeys((name for _, name in reversed(WORD_CLASSES)), 0)
    images_without_text = 0
    segmentation = Segmentation.of(vocabulary.settings)
    for shard in find_shards(roots):
        for image in read_images(shard):
            words = Counter(segment_lines(image.lines, segmentation))
            tokens.update(words)
            images_without_text += not image.lines
            images_by_words[_word_class(sum(word in vocabulary for word in words))] += 1
    covered = {word: count for word, count in tokens.items() if word in vocabulary}
    left_out = sorted(((word, count) for word, count in tokens.items() if word not in covered), key=_by_count)
    return Coverage(
        vocabulary_size=len(vocabulary),
        vocabulary_sha256=vocabulary.sha256,
        images=sum(images_by_words.values()),
        images_without_text=images_without_text,
        images_without_words=images_by_words["0"],
        images_by_words=images_by_words,
        tokens=tokens.total(),
        tokens_in_vocabulary=sum(covered.values()),
        token_coverage=_share(sum(covered.values()), tokens.total()),
        distinct_words=len(tokens),
        distinct_in_vocabulary=len(covered),
        distinct_coverage=_share(len(covered), len(tokens)),
        left_out=tuple(left_out[:LEFT_OUT_LISTED]),
    )


def _word_class(distinct_words: int) -> str:
    return next(name for least, name in WORD_CLASSES if distinct_words >= least)


def _by_count(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _format_row(label: str, count: int, whole: int | None) -> str:
    share = "" if whole is None else f"{_share(count, whole):>8.1%}"
    return f"{label:<34}{count:>12,}{share}"
