"""Folders and file names of a labelled data set."""

import fnmatch
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.dataset.manifest import FORMAT, OLD_FORMAT, Manifest, has_old_places
from ovocr.dataset.statistics import ShardCounts, data_file_names, read_counts

_MANIFEST = "manifest.json"
_SUFFIXES = {"rec": (".rec", ".idx"), "ocr": (".parquet",), "records": (".parquet",), "stats": (".json",)}
FOLDERS = tuple(_SUFFIXES)
_MAKING = ".making-"
_MAKING_NAME = re.compile(rf"{re.escape(_MAKING)}([0-9]{{5,9}})-")
_SHARD_FILE = re.compile(r"([0-9]{5,9})(\.[a-z]+)")


class OldFormatError(OvocrError):
    """A labelled data set is of the format before. root: its folder or URL."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(
            f"{root}: format {OLD_FORMAT}; make a data set of format {FORMAT} from its stored text, without an engine: "
            f"ovocr relabel {shlex.quote(str(root))} --out NEW_DIR"
        )
        self.root = root

    def __reduce__(self) -> tuple[type["OldFormatError"], tuple[Path | str]]:
        """Pickles the constructor's argument, so the error can be raised in another process."""
        return type(self), (self.root,)


@dataclass(frozen=True)
class LabelledDataSet:
    """A folder with manifest.json, vocab.txt and, for each shard, files in rec/, ocr/, records/ and stats/.

    A packed data set has neither vocab.txt nor ocr/. A shard is finished if its file in stats/ exists, because that
    file is written last.

    root: the folder. url: URL of the data set, if it is in an object store and the folder contains a part of it.
    """

    root: Path
    url: str | None = None

    def __str__(self) -> str:
        """Returns the data set's name in messages."""
        return self.url or str(self.root)

    def name_of(self, path: Path) -> str:
        """Returns the path or URL of a file in messages. path: the file's path in ``root``."""
        return str(path) if self.url is None else f"{self.url}/{path.relative_to(self.root).as_posix()}"

    def shown(self, text: str) -> str:
        """Returns a message with the URL instead of the folder, if the data set is in an object store."""
        return text if self.url is None else text.replace(str(self.root), self.url)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Names the URL instead of the folder in errors of the block, if the data set is in an object store."""
        try:
            yield
        except OvocrError as error:
            if self.url is not None:
                error.rename(str(self.root), self.url)
            raise

    @classmethod
    def open(cls, root: Path, *, old: bool = False, url: str | None = None) -> "LabelledDataSet":
        """Returns the data set in ``root``. url: as above.

        old: accept data sets of format 2, whose tags have one place.

        Raises OvocrError if the folder has no manifest, and OldFormatError if the data set is of format 2.
        """
        data_set = cls(Path(root), url)
        if not data_set.manifest_path.is_file():
            has_shards = next(data_set.shard_files(), None) is not None
            advice = "restore the file" if has_shards else "create one with `ovocr build-labels`"
            raise OvocrError(f"{data_set}: not a labelled data set (no {_MANIFEST}); {advice}")
        if not old and has_old_places(data_set.manifest_path):
            raise OldFormatError(url or root)
        return data_set

    @property
    def manifest_path(self) -> Path:
        """Path of the manifest."""
        return self.root / _MANIFEST

    @property
    def vocabulary_path(self) -> Path:
        """Path of the vocabulary. It is a copy, so the data set does not depend on other files."""
        return self.root / "vocab.txt"

    @property
    def frequencies_path(self) -> Path:
        """Path of the word frequencies, a copy. The file exists only if the policy is idf."""
        return self.root / "frequencies.tsv"

    def word_files(self) -> list[Path]:
        """Returns the paths of vocabulary and frequencies. The vocabulary's description precedes the vocabulary."""
        words = self.vocabulary_path
        return [words.with_name(f"{words.name}.json"), words, self.frequencies_path]

    def rec_prefix(self, shard: int) -> Path:
        """Returns the path of the shard's .rec and .idx without the suffix."""
        return self.root / "rec" / f"{shard:05d}"

    def ocr_path(self, shard: int) -> Path:
        """Returns the path of the table with the text of the shard's images."""
        return self.root / "ocr" / f"{shard:05d}.parquet"

    def records_path(self, shard: int) -> Path:
        """Returns the path of the table with the outcome of each image of the shard."""
        return self.root / "records" / f"{shard:05d}.parquet"

    def stats_path(self, shard: int) -> Path:
        """Returns the path of the shard's statistics. The file exists if the shard is finished."""
        return self.root / "stats" / f"{shard:05d}.json"

    def lock_path(self, shard: int) -> Path:
        """Returns the path of the lock file that a process holds while it writes the shard."""
        return self.root / "stats" / f".{shard:05d}.lock"

    def making_prefix(self, shard: int) -> str:
        """Returns the beginning of the name of a folder in ``root`` in which a process writes the shard."""
        return f"{_MAKING}{shard:05d}-"

    def making_folders(self) -> list[tuple[int, Path]]:
        """Returns the folders in which processes write shards, or wrote before they were killed, with the number."""
        found = ((_MAKING_NAME.match(path.name), path) for path in sorted(self.root.glob(f"{_MAKING}*")))
        return [(int(match[1]), path) for match, path in found if match is not None]

    def data_files(self, shard: int, *, with_text: bool) -> dict[str, Path]:
        """Maps the names in the shard's statistics to the paths of its files. The statistics are not included."""
        prefix = self.rec_prefix(shard)
        paths = {"rec": prefix.with_suffix(".rec"), "idx": prefix.with_suffix(".idx")}
        paths |= {"ocr": self.ocr_path(shard), "records": self.records_path(shard)}
        return {name: paths[name] for name in data_file_names(with_text)}

    def shard_files(self) -> Iterator[Path]:
        """Yields the files of all shards, finished or not."""
        for folder, suffixes in _SUFFIXES.items():
            for suffix in suffixes:
                yield from self.root.glob(f"{folder}/[0-9]*{suffix}")

    def finished_shards(self, count: int | None = None) -> list[int]:
        """Returns the numbers of the finished shards, in order. count: only numbers below it, if given."""
        try:
            names = set(os.listdir(self.root / "stats"))  # one request, where a lookup of each would be thousands
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OvocrError(f"{self}/stats: cannot be read: {error.strerror}") from error
        if count is not None:
            return [number for number in range(count) if self.stats_path(number).name in names]
        return sorted(int(name[: -len(".json")]) for name in fnmatch.filter(names, "[0-9]*.json"))

    def all_shards(self) -> range:
        """Returns the numbers of the shards in the manifest. Raises OvocrError unless all are finished."""
        manifest = self.manifest()
        count = len(manifest.shards)
        finished = self.finished_shards(count)
        if len(finished) < count:
            raise OvocrError(
                f"{self}: only {len(finished)} of {count} shards are finished; finish it with "
                f"`ovocr {manifest.command}`"
            )
        return range(count)

    def manifest(self) -> Manifest:
        """Reads the manifest. Raises OvocrError."""
        with self.errors():
            return Manifest.read(self.manifest_path)

    def counts(self, shard: int) -> ShardCounts:
        """Reads the counts of a finished shard. Raises OvocrError."""
        with self.errors():
            return read_counts(self.stats_path(shard))


# Paths relative to a data set's folder.
RELATIVE = LabelledDataSet(Path())


def shard_number(folder: str, name: str, *, with_text: bool) -> int | None:
    """Returns the shard number in the name of a file in one of FOLDERS; None if it is not the name of a shard file."""
    match = _SHARD_FILE.fullmatch(name)
    if match is None or match[2] not in _SUFFIXES[folder] or (folder == "ocr" and not with_text):
        return None
    number = int(match[1])
    return number if match[1] == f"{number:05d}" else None


def is_inside_data_set(path: Path) -> bool:
    """Returns True if the file is in a data set's folder or in one of its FOLDERS."""
    folder = path.absolute().parent
    root = folder.parent if folder.name in FOLDERS else folder
    return LabelledDataSet(root).manifest_path.is_file()
