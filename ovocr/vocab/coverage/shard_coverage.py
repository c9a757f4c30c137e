"""Measures one shard: its word counts, in a file, and the figures that need whole images."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ovocr.dataset.holdout.rule import is_held_out
from ovocr.dataset.text import TextShard, read_images
from ovocr.vocab.counting import WordCounts
from ovocr.vocab.coverage.limits import MIN_LETTERS, MIN_SCORES, LevelCounts, letter_levels, score_levels
from ovocr.vocab.segmentation.segmenter import Segmentation, find_words


@dataclass(frozen=True, kw_only=True)
class ShardCoverage:
    """The word counts of one shard and its coverage. words: the Parquet file of ``ovocr.vocab.counting``.

    without_text: images without a line. without_any_word: images with lines but without a word.
    tokens: number of tokens. tokens_in: number of tokens in each vocabulary, in the measurer's order.
    words_per_image: for each vocabulary, maps n to the number of images with n distinct in-vocabulary words; counts
    only images with words.
    by_score, by_letters: sums by the levels of MIN_SCORES and MIN_LETTERS. lowest_score: of all lines; 1 if there are
    none.
    """

    shard: TextShard
    words: Path
    images: int
    without_text: int
    without_any_word: int
    tokens: int
    tokens_in: tuple[int, ...]
    words_per_image: tuple[dict[int, int], ...]
    by_score: LevelCounts
    by_letters: LevelCounts
    lowest_score: float

    def images_without_words(self, vocabulary: int) -> int:
        """Returns the number of images without a word in the vocabulary."""
        return self.without_text + self.without_any_word + self.words_per_image[vocabulary].get(0, 0)


@dataclass(frozen=True, kw_only=True)
class ShardMeasurer:
    """Measures shards in any process. folder: folder of the word counts. roots: folders of the data sets, in order.

    vocabularies: text files with one word per line, all made with ``segmentation``.
    holdout: measure only this share of the images, the held-out ones; None for all images.
    """

    folder: Path
    roots: tuple[Path, ...]
    segmentation: Segmentation
    vocabularies: tuple[Path, ...]
    holdout: float | None = None

    def __call__(self, shard: TextShard) -> ShardCoverage:
        """Measures a shard. Raises OvocrError if its text cannot be read, OSError if its file cannot be written."""
        with shard.on_disk("ocr") as stored:
            return self.measure(shard, stored)

    def measure(self, shard: TextShard, stored: TextShard) -> ShardCoverage:
        """Measures a shard, see above. stored: the same shard with its text on a disk."""
        counts = WordCounts()
        vocabularies = [_load_words(path) for path in self.vocabularies]
        words_per_image: list[dict[int, int]] = [{} for _ in vocabularies]
        by_score = LevelCounts.zero(len(MIN_SCORES), len(vocabularies))
        by_letters = LevelCounts.zero(len(MIN_LETTERS), len(vocabularies))
        without_any_word, lowest_score = 0, 1.0
        for image in read_images(stored, scores=True):
            if self.holdout is not None and not is_held_out(image.key, self.holdout):
                continue
            found_words = find_words(image.lines, self.segmentation)
            words = counts.add(image, (word.text for word in found_words))
            lowest_score = min(lowest_score, *image.scores) if image.scores else lowest_score
            known = [vocabulary.intersection(words) for vocabulary in vocabularies]
            by_score.add_image(score_levels(found_words, image.scores), known)
            by_letters.add_image(letter_levels(words.items()), known)
            if words:
                for of_vocabulary, images in zip(known, words_per_image, strict=True):
                    images[len(of_vocabulary)] = images.get(len(of_vocabulary), 0) + 1
            elif image.lines:
                without_any_word += 1
        path = self.folder / f"{self.roots.index(shard.root)}-{shard.number}.parquet"
        counts.write(path)
        return ShardCoverage(
            shard=shard,
            words=path,
            images=counts.images,
            without_text=counts.images_without_text,
            without_any_word=without_any_word,
            tokens=sum(counts.tokens.values()),
            tokens_in=tuple(
                sum(count for word, count in counts.tokens.items() if word in vocabulary) for vocabulary in vocabularies
            ),
            words_per_image=tuple(words_per_image),
            by_score=by_score,
            by_letters=by_letters,
            lowest_score=lowest_score,
        )


@lru_cache(maxsize=2)
def _load_words(path: Path) -> frozenset[str]:
    return frozenset(path.read_text(encoding="utf-8").split("\n")[:-1])
