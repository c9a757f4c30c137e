"""The vocabulary: a numbered list of words, and its file.

File format: UTF-8, one word per line, each line ended by a line feed. The line number, from 0, is the class id. The
JSON file ``<file>.json`` contains size, sha256 of the file's bytes, normalisation and segmenter settings, source and
counts.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.base.files import write_text, written_aside
from ovocr.base.plural import counted
from ovocr.vocab.lexicon import LEXICON, lexicon_settings, load_lexicon

_FORBIDDEN_CHARACTER = re.compile(r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f-\x9f]|\ufeff")


class Vocabulary:
    """Words and their class ids, 0 to len - 1.

    words: distinct, in class id order, without white space or control characters.
    settings: the fields of the JSON file except size and sha256.
    name: the vocabulary's name in messages.
    sha256: hex digest of the bytes of the text file, whether or not it exists.

    Raises OvocrError, naming the line, if a word is not allowed. Instances can be pickled.
    """

    def __init__(
        self, words: Sequence[str], settings: dict[str, Any] | None = None, *, name: str = "vocabulary"
    ) -> None:
        self.settings: dict[str, Any] = dict(settings or {})
        self._words = list(words)
        self._ids = {word: number for number, word in enumerate(self._words)}
        _check_words(self._words, self._ids, name)
        self.sha256 = hashlib.sha256(self._text().encode("utf-8")).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads a vocabulary file. "lexicon" is the built-in vocabulary; a file of that name is "./lexicon".

        Raises OvocrError, naming file and line, if the file is not a vocabulary or not the one its JSON describes.
        """
        if path == LEXICON:
            return cls(load_lexicon(), lexicon_settings(), name=LEXICON)
        path = Path(path)
        words = _read_words(path)
        description = read_description(description_path(path))
        size, sha256 = description.pop("size", None), description.pop("sha256", None)
        vocabulary = cls(words, description, name=str(path))
        if sha256 not in (None, vocabulary.sha256) or size not in (None, len(vocabulary)):
            raise OvocrError(
                f"{path}: expected size {size} and sha256 {sha256} as in {description_path(path)}, "
                f"found size {len(vocabulary)} and sha256 {vocabulary.sha256}; restore the file"
            )
        return vocabulary

    def save(self, path: str | Path) -> None:
        """Writes the word file and its JSON file, each completely or not at all. Raises OSError.

        The JSON file is written first. If the process is killed between the two, ``load`` refuses the files, and words
        never exist without the settings that made them.
        """
        path = Path(path)
        description = {"size": len(self), "sha256": self.sha256, **self.settings}
        with written_aside(path) as words:
            words.write_text(self._text(), encoding="utf-8", newline="\n")
            write_text(description_path(path), json.dumps(description, ensure_ascii=False, indent=2) + "\n")

    def __len__(self) -> int:
        """Returns the number of words, which is the number of classes."""
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        """Returns True if a word, in the form that ``segment`` returns, has a class id."""
        return word in self._ids

    def id(self, word: str) -> int | None:
        """Returns the class id of a word, in the form that ``segment`` returns, or None if it has no class id."""
        return self._ids.get(word)

    def word(self, id: int) -> str:
        """Returns the word of a class id. Raises IndexError if the id is not from 0 to len - 1."""
        if not 0 <= id < len(self._words):
            raise IndexError(f"class id {id} is not in a vocabulary of {counted(len(self._words), 'word')}")
        return self._words[id]

    def _text(self) -> str:
        return "\n".join([*self._words, ""])


def description_path(path: Path) -> Path:
    """Returns the path of the JSON file that describes the file ``path``."""
    return path.with_name(path.name + ".json")


def is_description(path: Path) -> bool:
    """Returns True if a file describes a vocabulary. It is written before the vocabulary, which may be missing."""
    try:
        return {"size", "sha256"} <= read_description(path).keys()
    except OvocrError:
        return False


def _read_words(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OvocrError(f"{path}: the vocabulary cannot be read: {error.strerror}") from error
    try:
        words = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OvocrError(f"{path}:{line}: not UTF-8; save the vocabulary as UTF-8 text") from error
    if words.pop():
        raise OvocrError(f"{path}:{len(words) + 1}: the last line has no line end; the file may be truncated")
    return words


def read_description(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file that describes a file; an empty dict if it does not exist.

    A plain list of words without JSON is a vocabulary too. Raises OvocrError if the file is not a JSON object.
    """
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise OvocrError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(description, dict):
        raise OvocrError(f"{path}: expected a JSON object")
    return description


def _check_words(words: list[str], ids: dict[str, int], name: str) -> None:
    if not words:
        raise OvocrError(f"{name}: no words")
    if "" in ids:
        raise OvocrError(f"{name}:{words.index('') + 1}: an empty line; every line is one word")
    if len(ids) < len(words):
        # ids maps each word to its last line, so the first mismatch is the first line of a repeated word.
        first = next(line for line, word in enumerate(words) if ids[word] != line)
        again = words.index(words[first], first + 1)
        raise OvocrError(f'{name}:{again + 1}: "{for_terminal(words[again])}" is already on line {first + 1}')
    text = "\n".join(words)
    found = _FORBIDDEN_CHARACTER.search(text)
    if found:
        line = text.count("\n", 0, found.start())
        raise OvocrError(
            f'{name}:{line + 1}: white space or control character ({found.group()!a}) in "{for_terminal(words[line])}"'
        )
    if text.count("\n") != len(words) - 1:
        line = next(line for line, word in enumerate(words) if "\n" in word)
        raise OvocrError(f'{name}:{line + 1}: a line feed in "{for_terminal(words[line])}"')
