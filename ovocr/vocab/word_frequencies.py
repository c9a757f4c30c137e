"""Word frequencies: the number of images with each word, from which weights of rare words are computed.

File format: UTF-8, tab-separated, each line ended by a line feed: the line ``word<TAB>images``, then a line with an
empty word and the number of all images, then a line for each word with its number of images, in
descending order of the number, then by word.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.base.files import write_text
from ovocr.base.plural import counted

_HEADER = "word\timages"
_MOST_DIGITS = 18


class WordFrequencies:
    """The number of images with each word.

    images: number of all images.
    in_images: number of images with each word, from 1 to ``images``; missing words are in no image.
    name: the name of the frequencies in messages.

    Raises OvocrError, naming the word, if a number is out of range.
    """

    def __init__(self, images: int, in_images: Mapping[str, int], *, name: str = "word frequencies") -> None:
        self.images = images
        self._in_images = dict(in_images)
        for word, count in self._in_images.items():
            if not 1 <= count <= images:
                raise OvocrError(
                    f'{name}: "{for_terminal(word)}" in {count} of {counted(images, "image")}; '
                    "write a number from 1 to the number of images"
                )

    def __len__(self) -> int:
        """Returns the number of words."""
        return len(self._in_images)

    def __contains__(self, word: object) -> bool:
        """Returns whether a word is in any image."""
        return word in self._in_images

    @classmethod
    def load(cls, path: str | Path) -> "WordFrequencies":
        """Reads a file. Raises OvocrError, naming file and line, if it is not a file of word frequencies."""
        try:
            lines = Path(path).read_bytes().decode("utf-8").split("\n")
        except OSError as error:
            raise OvocrError(f"{path}: word frequencies cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise OvocrError(
                f"{path}: not UTF-8; give a file of word frequencies that `ovocr relabel` wrote"
            ) from error
        if lines[0] != _HEADER:
            raise OvocrError(f"{path}:1: not word frequencies; give a file that `ovocr relabel --policy idf` wrote")
        if lines.pop():
            raise OvocrError(f"{path}:{len(lines) + 1}: the last line has no line end; the file may be truncated")
        in_images: dict[str, int] = {}
        for number, line in enumerate(lines[1:], 2):
            word, tab, count = line.partition("\t")
            is_count = count.isascii() and count.isdecimal() and len(count) <= _MOST_DIGITS
            if not (tab and is_count) or bool(word) == (number == 2):
                raise OvocrError(
                    f"{path}:{number}: not a word, a tab and a number (line 2: no word, a tab and a number)"
                )
            if word in in_images:
                raise OvocrError(f'{path}:{number}: "{for_terminal(word)}" is repeated; leave one of the lines')
            in_images[word] = int(count)
        if "" not in in_images:
            raise OvocrError(f"{path}:2: the number of all images is missing")
        return cls(in_images.pop(""), in_images, name=str(path))

    def save(self, path: Path) -> None:
        """Writes the file, completely or not at all. Raises OSError."""
        write_text(path, self.text)

    def weight(self, word: str) -> float:
        """Returns the smoothed inverse document frequency, at least 1: ln((1 + images) / (1 + images with word)) + 1.

        The formula of scikit-learn's TfidfTransformer.
        """
        return math.log((1 + self.images) / (1 + self._in_images.get(word, 0))) + 1

    @cached_property
    def text(self) -> str:
        """The content of the file."""
        rows = sorted(self._in_images.items(), key=lambda item: (-item[1], item[0]))
        return "".join([f"{_HEADER}\n\t{self.images}\n", *(f"{word}\t{count}\n" for word, count in rows)])

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes of the file, whether or not it exists."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Returns the entry that identifies the frequencies in a manifest."""
        return {"images": self.images, "words": len(self), "sha256": self.sha256}
