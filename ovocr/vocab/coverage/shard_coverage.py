"""Measures one shard: its word counts, in a file, and the figures that need whole images."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ovocr.dataset.text import TextShard, read_images
from ovocr.vocab.counting import WordCounts
from ovocr.vocab.segmentation.segmenter import Segmentation


@dataclass(frozen=True, kw_only=True)
class ShardCoverage:
    """The word counts of one shard and its coverage. words: the Parquet file of ``ovocr.vocab.counting``.

    without_text: images without a line. without_any_word: images with lines but without a word.
    tokens: number of tokens. tokens_in: number of tokens in each vocabulary, in the measurer's order.
    words_per_image: for each vocabulary, maps n to the number of images with n distinct in-vocabulary words; counts
    only images with words.
    """

    shard: TextShard
    words: Path
    images: int
    without_text: int
    without_any_word: int
    tokens: int
    tokens_in: tuple[int, ...]
    words_per_image: tuple[dict[int, int], ...]

    def images_without_words(self, vocabulary: int) -> int:
        """Returns the number of images without a word in the vocabulary."""
        return self.without_text + self.without_any_word + self.words_per_image[vocabulary].get(0, 0)


@dataclass(frozen=True, kw_only=True)
class ShardMeasurer:
    """Measures shards in any process. folder: folder of the word counts. roots: folders of the data sets, in order.

    vocabularies: text files with one word per line, all made with ``segmentation``.
    """

    folder: Path
    roots: tuple[Path, ...]
    segmentation: Segmentation
    vocabularies: tuple[Path, ...]

    def __call__(self, shard: TextShard) -> ShardCoverage:
        """Measures a shard. Raises OvocrError if its text cannot be read, OSError if its file cannot be written."""
        counts = WordCounts()
        vocabularies = [_load_words(path) for path in self.vocabularies]
        words_per_image: list[dict[int, int]] = [{} for _ in vocabularies]
        without_any_word = 0
        for image in read_images(shard):
            words = counts.add(image, self.segmentation)
            if words:
                for vocabulary, images in zip(vocabularies, words_per_image, strict=True):
                    found = sum(word in vocabulary for word in words)
                    images[found] = images.get(found, 0) + 1
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
        )


@lru_cache(maxsize=2)
def _load_words(path: Path) -> frozenset[str]:
    return frozenset(path.read_text(encoding="utf-8").split("\n")[:-1])
