"""In how many pictures each word stands, from which the weights of ``--policy idf`` come.

File format: UTF-8, tab-separated, each line ended by a line feed: a line ``word<TAB>images``, then a line with no word
and the number of all pictures, then a line for each word with the number of pictures that it stands in, by falling
number and then by word.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.base.files import write_text
from ovocr.dataset.text import TextShard, read_images
from ovocr.processes.shard_map import map_shards
from ovocr.vocab import Segmentation, Vocabulary, segment_lines

_HEADER = "word\timages"


class WordFrequencies:
    """images: how many pictures were read. in_images: in how many of them each word stands; a word that is missing
    stands in none. Raises OvocrError, naming the word, for a number that is not from 1 to ``images``.

    name: what messages call it.
    """

    def __init__(self, images: int, in_images: Mapping[str, int], *, name: str = "word frequencies") -> None:
        self.images = images
        self._in_images = dict(in_images)
        for word, count in self._in_images.items():
            if not 1 <= count <= images:
                raise OvocrError(
                    f'{name}: "{for_terminal(word)}" in {count} of {images} images: from 1 to all is needed'
                )

    @classmethod
    def load(cls, path: str | Path) -> "WordFrequencies":
        """Read a file. Raises OvocrError, naming file and line, where it is none."""
        try:
            lines = Path(path).read_bytes().decode("utf-8").split("\n")
        except OSError as error:
            raise OvocrError(f"{path}: word frequencies cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise OvocrError(
                f"{path}: not UTF-8; word frequencies are a text file that `ovocr relabel` writes"
            ) from error
        if lines[0] != _HEADER:
            raise OvocrError(f"{path}:1: not word frequencies, as `ovocr relabel --policy idf` writes them")
        if lines.pop():
            raise OvocrError(f"{path}:{len(lines) + 1}: the last line has no line end; is the file cut short?")
        in_images: dict[str, int] = {}
        for number, line in enumerate(lines[1:], 2):
            word, tab, count = line.partition("\t")
            if not (tab and count.isascii() and count.isdecimal()) or word in in_images or bool(word) == (number == 2):
                raise OvocrError(f"{path}:{number}: a word, once, a tab and a number are needed; in line 2 no word")
            in_images[word] = int(count)
        if "" not in in_images:
            raise OvocrError(f"{path}:2: the number of all images is missing")
        return cls(in_images.pop(""), in_images, name=str(path))

    def save(self, path: Path) -> None:
        """Write the file, complete or not at all. Raises OSError."""
        write_text(path, self.text)

    def weight(self, word: str) -> float:
        """Smoothed inverse document frequency, at least 1: ln((1 + images) / (1 + those with the word)) + 1.

        As scikit-learn's TfidfTransformer has it.
        """
        return math.log((1 + self.images) / (1 + self._in_images.get(word, 0))) + 1

    @cached_property
    def text(self) -> str:
        """What stands in the file."""
        rows = sorted(self._in_images.items(), key=lambda item: (-item[1], item[0]))
        return "".join([f"{_HEADER}\n\t{self.images}\n", *(f"{word}\t{count}\n" for word, count in rows)])

    def describe(self) -> dict[str, Any]:
        """Identifies them in a manifest."""
        sha256 = hashlib.sha256(self.text.encode("utf-8")).hexdigest()
        return {"images": self.images, "words": len(self._in_images), "sha256": sha256}


def count_frequencies(shards: list[TextShard], vocabulary: Vocabulary, workers: int) -> WordFrequencies:
    """Those of a vocabulary's words in the stored text of ``shards``. Raises OvocrError where that cannot be read."""
    images = 0
    in_images: Counter[str] = Counter()
    work = partial(_count_shard, Segmentation.of(vocabulary.settings))
    for count, words in map_shards(work, shards, workers=workers, progress="word frequencies"):
        images += count
        in_images.update({word: of for word, of in words.items() if word in vocabulary})
    return WordFrequencies(images, in_images)


def _count_shard(segmentation: Segmentation, shard: TextShard) -> tuple[int, Counter[str]]:
    """How many images it has, and in how many of them each word stands."""
    images = 0
    in_images: Counter[str] = Counter()
    for image in read_images(shard):
        images += 1
        in_images.update(set(segment_lines(image.lines, segmentation)))
    return images, in_images
