"""The layout of a labelled data set on disk: what ``build-labels`` and ``pack-labels`` write, everything else reads."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError

_SHARD_FILES = (
    *("rec/[0-9]*.rec", "rec/[0-9]*.idx"),
    *("ocr/[0-9]*.parquet", "records/[0-9]*.parquet", "stats/[0-9]*.json"),
)


@dataclass(frozen=True)
class LabelledDataSet:
    """A folder with manifest.json, vocab.txt and, for each shard, files in rec/, ocr/, records/ and stats/.

    One of ``pack-labels`` has neither vocab.txt nor ocr/: its classes are no words. A shard is finished when its stats
    file is there: it is written last. url: of the data set in an object store that the folder is a part of, if it is.
    """

    root: Path
    url: str | None = None

    def __str__(self) -> str:
        """What messages call it."""
        return self.url or str(self.root)

    @classmethod
    def open(cls, root: Path) -> "LabelledDataSet":
        """The data set in ``root``. Raises OvocrError where there is none."""
        data_set = cls(Path(root))
        if not data_set.manifest_path.is_file():
            raise OvocrError(f"{root}: not a labelled data set (no manifest.json); make one with `ovocr build-labels`")
        return data_set

    @property
    def manifest_path(self) -> Path:
        """Configuration and shard list, JSON."""
        return self.root / "manifest.json"

    @property
    def vocabulary_path(self) -> Path:
        """The vocabulary the tags are ids of: a copy, so that the data set can be read anywhere."""
        return self.root / "vocab.txt"

    def word_files(self) -> list[Path]:
        """Vocabulary and frequencies where there are any, the file that describes another one before it."""
        words = self.vocabulary_path
        return [words.with_name(f"{words.name}.json"), words, self.frequencies_path]

    @property
    def frequencies_path(self) -> Path:
        """In how many pictures each word stands, where tags were drawn by that; a copy, too."""
        return self.root / "frequencies.tsv"

    def rec_prefix(self, shard: int) -> Path:
        """Path of the shard's pictures and tags without its ending: .rec, and .idx for the index."""
        return self.root / "rec" / f"{shard:05d}"

    def ocr_path(self, shard: int) -> Path:
        """What was read in each picture of the shard, Parquet."""
        return self.root / "ocr" / f"{shard:05d}.parquet"

    def records_path(self, shard: int) -> Path:
        """What became of each input of the shard, Parquet."""
        return self.root / "records" / f"{shard:05d}.parquet"

    def stats_path(self, shard: int) -> Path:
        """Counts of the shard, JSON; its presence says that the shard is finished."""
        return self.root / "stats" / f"{shard:05d}.json"

    def lock_path(self, shard: int) -> Path:
        """Held by the process that makes the shard, and there only as long as it does."""
        return self.root / "stats" / f".{shard:05d}.lock"

    def shard_files(self) -> Iterator[Path]:
        """Files of finished and unfinished shards, whatever their number."""
        for pattern in _SHARD_FILES:
            yield from self.root.glob(pattern)

    def manifest(self) -> dict[str, Any]:
        """The parsed manifest. Raises OvocrError where it cannot be read."""
        return _read_json(self.manifest_path)

    def stats(self, shard: int) -> dict[str, Any]:
        """The parsed counts of a finished shard. Raises OvocrError where they cannot be read."""
        return _read_json(self.stats_path(shard))

    def finished_shards(self) -> list[int]:
        """Numbers of the shards that are done, in order."""
        return sorted(int(path.stem) for path in (self.root / "stats").glob("[0-9]*.json"))


def _read_json(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise OvocrError(f"{path}: is a folder, a device or a pipe; put the file back")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OvocrError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise OvocrError(f"{path}: a JSON object was expected")
    return value
