"""Counts the words of shards in parallel processes, in constant memory."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError
from ovocr.dataset.holdout.rule import is_held_out
from ovocr.dataset.text import ImageText, TextShard, read_images
from ovocr.processes.shard_map import map_shards
from ovocr.vocab.segmentation.segmenter import Segmentation, segment_lines

_SCHEMA = pa.schema([("word", pa.string()), ("tokens", pa.int64()), ("images", pa.int64())])
# Memory of a word while it is counted and written.
_BYTES_PER_WORD = 400
_LEAST_WORDS = 20_000


@dataclass(frozen=True, kw_only=True)
class CountedShards:
    """Counts of one or more shards. files: the files of their word counts, at least one per shard.

    images: number of images. images_without_text: number of images without a line. tokens: words with multiplicity.
    images_held_out: number of other images, which are held out.
    """

    images: int = 0
    images_held_out: int = 0
    images_without_text: int = 0
    tokens: int = 0
    files: tuple[Path, ...] = ()

    def __add__(self, other: "CountedShards") -> "CountedShards":
        return CountedShards(
            images=self.images + other.images,
            images_held_out=self.images_held_out + other.images_held_out,
            images_without_text=self.images_without_text + other.images_without_text,
            tokens=self.tokens + other.tokens,
            files=self.files + other.files,
        )


@dataclass
class _Words:
    """Word counts. tokens: maps each word to its number of occurrences. in_images: to its number of images."""

    tokens: Counter[str] = field(default_factory=Counter)
    in_images: Counter[str] = field(default_factory=Counter)

    def write(self, path: Path) -> None:
        """Writes Parquet with the columns word, tokens, images and one row per word, sorted by word."""
        words = list(self.tokens)
        columns = [words, list(self.tokens.values()), [self.in_images[word] for word in words]]
        table = pa.table(columns, schema=_SCHEMA).sort_by("word")
        # Every word occurs once, so a dictionary of words would only be another copy of them.
        pq.write_table(table, path, compression="zstd", use_dictionary=["tokens", "images"])


@dataclass(frozen=True, kw_only=True)
class ShardCounter:
    """Counts shards in any process. folder: folder of the files. roots: folders of the data sets, in order.

    most_words: number of distinct words at which a file is written and the next one begins.
    holdout: share of the images that are not counted.
    """

    folder: Path
    roots: tuple[Path, ...]
    segmentation: Segmentation
    most_words: int
    holdout: float = 0.0

    def __call__(self, shard: TextShard) -> CountedShards:
        """Counts a shard of one of ``roots`` into files in ``folder``. Raises OvocrError."""
        words = _Words()
        files: list[Path] = []
        images = held_out = without_text = tokens = 0
        for image in _read(shard):
            if self.holdout and is_held_out(image.key, self.holdout):
                held_out += 1
                continue
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
        return CountedShards(
            images=images, images_held_out=held_out, images_without_text=without_text, tokens=tokens, files=tuple(files)
        )

    def _write(self, words: _Words, shard: TextShard, part: int) -> Path:
        path = self.folder / f"{self.roots.index(shard.root)}-{shard.number:05d}-{part}.parquet"
        try:
            words.write(path)
        except OSError as error:
            raise OvocrError(f"{self.folder}: word counts cannot be written: {error}; the disk may be full") from error
        return path


def _read(shard: TextShard) -> Iterator[ImageText]:
    with shard.on_disk("ocr") as stored:
        yield from read_images(stored)


def count_shards(
    shards: list[TextShard],
    folder: Path,
    segmentation: Segmentation,
    *,
    holdout: float = 0.0,
    workers: int,
    memory: int,
    progress: bool,
) -> CountedShards:
    """Returns the sums over all shards and the files of word counts. memory: bytes for all processes together.

    holdout: share of the images that are not counted; 0 for none.

    Raises OvocrError if a shard cannot be read.
    """
    counter = ShardCounter(
        folder=folder,
        roots=tuple(dict.fromkeys(shard.root for shard in shards)),
        segmentation=segmentation,
        holdout=holdout,
        most_words=max(_LEAST_WORDS, memory // (_BYTES_PER_WORD * workers)),
    )
    counted = map_shards(counter, shards, workers=workers, progress="counting" if progress else None)
    return sum(counted, CountedShards())
