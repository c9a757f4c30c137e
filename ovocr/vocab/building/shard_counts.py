"""The counting of shards by processes, in a memory that does not grow with them."""

from dataclasses import dataclass
from pathlib import Path

from ovocr.vocab.corpus import TextShard, map_shards, read_images
from ovocr.vocab.counting import WordCounts
from ovocr.vocab.segmentation import Segmentation

# Of a word while it is counted and while it is written, in WordCounts and Arrow.
_BYTES_A_WORD = 600
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


@dataclass(frozen=True, kw_only=True)
class ShardCounter:
    """What a process does with a shard. most_words: distinct words it holds before it begins another file."""

    folder: Path
    roots: tuple[Path, ...]
    segmentation: Segmentation
    most_words: int

    def __call__(self, shard: TextShard) -> ShardCounts:
        """Count a shard of one of ``roots`` into files of ``folder``."""
        total, counts = ShardCounts(), WordCounts()
        for image in read_images(shard):
            counts.add(image, self.segmentation)
            if len(counts.tokens) >= self.most_words:
                total, counts = total + self._written(counts, shard, len(total.files)), WordCounts()
        return total + self._written(counts, shard, len(total.files))

    def _written(self, counts: WordCounts, shard: TextShard, part: int) -> ShardCounts:
        path = self.folder / f"{self.roots.index(shard.root)}-{shard.number:05d}-{part}.parquet"
        counts.write(path)
        return ShardCounts(
            images=counts.images,
            images_without_text=counts.images_without_text,
            tokens=sum(counts.tokens.values()),
            files=(path,),
        )


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
