"""Class maps: the old class id of every class of a new vocabulary.

File format: a NumPy ``.npy`` file, int32 [new classes]: the old class id, or -1 if the old vocabulary does not have the
class. The JSON file ``<file>.json`` contains the file's sha256, and size and sha256 of both vocabularies.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.base.files import write_text, written_aside
from ovocr.vocab.segmentation.han_folding import simplifying_table
from ovocr.vocab.segmentation.segmenter import Segmentation
from ovocr.vocab.vocabulary import Vocabulary, description_path, read_description

NO_OLD_CLASS = -1


@dataclass(frozen=True, kw_only=True)
class VocabularyStamp:
    """Identifies a vocabulary. size: number of words. sha256: hex digest of its text file."""

    size: int
    sha256: str

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "VocabularyStamp":
        """Returns the stamp of a vocabulary."""
        return cls(size=len(vocabulary), sha256=vocabulary.sha256)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMap:
    """The old class of every new class.

    old_ids: int64 [new classes], NO_OLD_CLASS (-1) for a class without an old class. Several new classes may share one.
    old, new: the vocabularies that it maps; None if a file does not name them.
    """

    old_ids: NDArray[np.int64]
    old: VocabularyStamp | None = None
    new: VocabularyStamp | None = None

    @classmethod
    def between(cls, old: Vocabulary, new: Vocabulary) -> "ClassMap":
        """Returns the map between two vocabularies by equal words.

        If exactly one of the vocabularies has simplified characters, words are compared in simplified form. Of several
        old words with the same form, the one with the smallest id is taken. Raises MissingExtraError if OpenCC is
        needed and not installed.
        """
        folds = _folds(old, new)
        ids: dict[str, int] = {}
        for class_id, word in enumerate(_words(old)):
            ids.setdefault(word.translate(folds), class_id)
        old_ids = np.fromiter(
            (ids.get(word.translate(folds), NO_OLD_CLASS) for word in _words(new)), np.int64, len(new)
        )
        return cls(old_ids=old_ids, old=VocabularyStamp.of(old), new=VocabularyStamp.of(new))

    @classmethod
    def load(cls, path: str | Path) -> "ClassMap":
        """Reads a file of ``save``, or a 1-D array of whole numbers in a ``.npy`` file without JSON.

        Raises OvocrError, naming the file, if it is neither or is not the file that its JSON describes.
        """
        path = Path(path)
        old_ids = _read_array(path)
        described = description_path(path)
        description = read_description(described)
        if not description:
            return cls(old_ids=old_ids)
        if description.get("sha256") != _sha256(path):
            raise OvocrError(f"{path}: not the class map that {described} describes; run `ovocr vocab map` again")
        return cls(
            old_ids=old_ids, old=_stamp(description, "old", described), new=_stamp(description, "new", described)
        )

    def save(self, path: str | Path) -> None:
        """Writes the array and its JSON, each completely or not at all. Raises OSError."""
        path = Path(path)
        # If the process is killed between the two files, the JSON of an older map must not be left with the new array.
        description_path(path).unlink(missing_ok=True)
        with written_aside(path) as partial, partial.open("wb") as file:
            np.save(file, self.old_ids.astype(np.int32))
        stamps = (("old", self.old), ("new", self.new))
        description = {
            "sha256": _sha256(path),
            **{name: {"size": stamp.size, "sha256": stamp.sha256} for name, stamp in stamps if stamp is not None},
        }
        write_text(description_path(path), json.dumps(description, indent=2) + "\n")

    @property
    def kept(self) -> int:
        """Number of new classes that have an old class."""
        return int((self.old_ids != NO_OLD_CLASS).sum())


def _folds(old: Vocabulary, new: Vocabulary) -> dict[int, str]:
    """Returns the table that folds characters before words are compared; empty if both vocabularies have one form."""
    forms = {Segmentation.of(vocabulary.settings).han for vocabulary in (old, new)}
    return simplifying_table() if len(forms) > 1 else {}


def _words(vocabulary: Vocabulary) -> Iterator[str]:
    return map(vocabulary.word, range(len(vocabulary)))


def _read_array(path: Path) -> NDArray[np.int64]:
    try:
        # Memory-mapped: a false size in the header allocates nothing, and no object is unpickled.
        array = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise OvocrError(f"{path}: the class map cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, SyntaxError, OverflowError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise OvocrError(f"{path}: not a class map of `ovocr vocab map` (.npy): {reason}") from error
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise OvocrError(
            f"{path}: not a class map: expected an array [classes] of whole numbers, found {list(array.shape)} of "
            f"{array.dtype}"
        )
    for number in (int(array.min(initial=0)), int(array.max(initial=0))):
        if not NO_OLD_CLASS <= number <= np.iinfo(np.int32).max:
            raise OvocrError(f"{path}: not a class map: {number} is neither a class id nor {NO_OLD_CLASS}")
    return np.array(array, dtype=np.int64)


def _stamp(description: dict[str, Any], name: str, path: Path) -> VocabularyStamp | None:
    value = description.get(name)
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("sha256"), str) or type(value.get("size")) is not int:
        raise OvocrError(f"{path}: {name}: expected size and sha256 of a vocabulary")
    return VocabularyStamp(size=value["size"], sha256=value["sha256"])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
