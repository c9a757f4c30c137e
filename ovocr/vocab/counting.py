"""The words of one shard, counted: what processes do side by side. Whoever merges shards reads the files.

A shard's file is Parquet with one row a distinct word, sorted by word (by code point, which is UTF-8's byte order):
word; tokens, how often it was read; images, in how many pictures; example, the key of the first of these.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.dataset.text import ImageText
from ovocr.vocab.segmentation.segmenter import Segmentation, segment_lines

COUNTS = pa.schema([("word", pa.string()), ("tokens", pa.int64()), ("images", pa.int64()), ("example", pa.string())])


@dataclass
class WordCounts:
    """Counts over the pictures that were added. Memory: the distinct words.

    images: how many pictures; images_without_text: how many without a line. tokens: how often each word was read.
    in_images: in how many pictures. examples: the key of the first picture with the word.
    """

    images: int = 0
    images_without_text: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    in_images: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, image: ImageText, segmentation: Segmentation) -> dict[str, int]:
        """Count the words of a picture; they are given with how often they stand in it."""
        self.images += 1
        self.images_without_text += not image.lines
        words: dict[str, int] = {}
        for word in segment_lines(image.lines, segmentation):
            words[word] = words.get(word, 0) + 1
        for word, count in words.items():
            self.tokens[word] = self.tokens.get(word, 0) + count
            self.in_images[word] = self.in_images.get(word, 0) + 1
            self.examples.setdefault(word, image.key)
        return words

    def write(self, path: Path) -> None:
        """Write the Parquet file that the module describes. Raises OSError."""
        words = sorted(self.tokens)
        columns = [words, *([of[word] for word in words] for of in (self.tokens, self.in_images, self.examples))]
        pq.write_table(pa.table(columns, schema=COUNTS), path, compression="zstd")


def count_words(images: Iterable[ImageText], segmentation: Segmentation) -> WordCounts:
    """The counts of all ``images``."""
    counts = WordCounts()
    for image in images:
        counts.add(image, segmentation)
    return counts
