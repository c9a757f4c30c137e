"""Counts the words of one shard into a Parquet file. Processes count shards in parallel; then the files are merged.

A file has one row per distinct word, sorted by word (by code point, which is UTF-8's byte order). Columns: word;
tokens, its number of occurrences; images, the number of images with it; example, the key of the first of these images.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.dataset.text import ImageText

COUNTS = pa.schema([("word", pa.string()), ("tokens", pa.int64()), ("images", pa.int64()), ("example", pa.string())])


@dataclass
class WordCounts:
    """Word counts over the images that were added. Memory: the distinct words.

    images: number of images. images_without_text: number of images without a line.
    tokens: maps each word to its number of occurrences. in_images: maps each word to the number of images with it.
    examples: maps each word to the key of the first image with it.
    """

    images: int = 0
    images_without_text: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    in_images: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, image: ImageText, words: Iterable[str]) -> dict[str, int]:
        """Adds an image and returns its words with their numbers of occurrences. words: those of its lines."""
        self.images += 1
        self.images_without_text += not image.lines
        counted: dict[str, int] = {}
        for word in words:
            counted[word] = counted.get(word, 0) + 1
        for word, count in counted.items():
            self.tokens[word] = self.tokens.get(word, 0) + count
            self.in_images[word] = self.in_images.get(word, 0) + 1
            self.examples.setdefault(word, image.key)
        return counted

    def write(self, path: Path) -> None:
        """Writes the Parquet file that the module describes. Raises OSError."""
        words = sorted(self.tokens)
        values = (self.tokens, self.in_images, self.examples)
        columns = [words, *([by_word[word] for word in words] for by_word in values)]
        pq.write_table(pa.table(columns, schema=COUNTS), path, compression="zstd")
