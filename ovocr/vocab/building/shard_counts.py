"""The counting of shards by processes, in a memory that does not grow with them."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError
from ovocr.dataset.text import TextShard, read_images
from ovocr.processes.shard_map import map_shards
from ovocr.vocab.segmentation.segmenter import Segmentation, segment_lines

_SCHEMA = pa.schema([("word", pa.string()), ("tokens", pa.int64()), ("images", pa.int64())])
# Of a word while it is counted and while it is written.
_BYTES_A_WORD = 400
_LEAST_WORDS = 20_000


@dataclass(frozen=True, kw_only=True)
class ShardCounts:
    """images: pictures that were read; images_without_text: of them without a line. tokens: words with multiplicity.

    files: of the counted words, one or more.
    """

    images: int = 0
    images_without_text: int = 0
    tokens: int = 0
    files: tuple[Path, ...] = ()

    def __add__(self, other: "ShardCounts") -> "ShardCounts":
        return ShardCounts(
            images=self.images + other.images,
            images_without_text=self.images_without_text + other.images_without_text,
            tokens=self.tokens + other.tokens,
            files=self.files + other.files,
        )


@dataclass
class _Words:
    """tokens: how often each word was read. in_images: in how many pictures."""

    tokens: Counter[str] = field(default_factory=Counter)
    in_images: Counter[str] = field(default_factory=Counter)

    def write(self, path: Path) -> None:
        """Write Parquet with a row a word, sorted by word: word, tokens, images."""
        words = list(self.tokens)
        columns = [words, list(self.tokens.values()), [self.in_images[word] for word in words]]
        table = pa.table(columns, schema=_SCHEMA).sort_by("word")
        # A dictionary of words that stand there once each would be another copy of them.
        pq.write_table(table, path, compression="zstd", use_dictionary=["tokens", "images"])


@dataclass(frozen=True, kw_only=True)
class ShardCounter:
    """What a process does with a shard. most_words: distinct words it holds before it begins another file."""

    folder: Path
    roots: tuple[Path, ...]
    segmentation: Segmentation
    most_words: int

    def __call__(self, shard: TextShard) -> ShardCounts:
        """Count a shard of one of ``roots`` into files of ``folder``."""
        words = _Words()
        files: list[Path] = []
        images = without_text = tokens = 0
        for image in read_images(shard):
            found = segment_lines(image.lines, self.segmentation)
            words.tokens.update(found)
            words.in_images.update(set(found))
            images += 1
            without_text += not image.lines
            tokens += len(found)
            if len(words.tokens) >= self.most_words:
                files.append(self._write(words, shard, len(files)))
                words = _Words()
        if words.tokens or not files:
            files.append(self._write(words, shard, len(files)))
        return ShardCounts(images=images, images_without_text=without_text, tokens=tokens, files=tuple(files))

    def _write(self, words: _Words, shard: TextShard, part: int) -> Path:
        path = self.folder / f"{self.roots.index(shard.root)}-{shard.number:05d}-{part}.parquet"
        try:
            words.write(path)
        except OSError as error:
            raise OvocrError(f"{self.folder}: counted words cannot be written: {error}; is the disk full?") from error
        return path


def count_shards(
    shards: list[TextShard], folder: Path, segmentation: Segmentation, *, workers: int, memory: int, progress: bool
) -> ShardCounts:
    """The sums over all shards, and the files of their words. memory: bytes, for all processes together.

    Raises OvocrError where a shard cannot be read.
    """
    counter = ShardCounter(
        folder=folder,
        roots=tuple(dict.fromkeys(shard.root for shard in shards)),
        segmentation=segmentation,
        most_words=max(_LEAST_WORDS, memory // (_BYTES_A_WORD * workers)),
    )
    counted = map_shards(counter, shards, workers=workers, progress="counting" if progress else None)
    return sum(counted, ShardCounts())
