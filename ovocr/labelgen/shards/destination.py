"""The destination of a run: a folder on this machine."""

import os
from pathlib import Path
from types import TracebackType

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.dataset.record_columns import read_keys
from ovocr.labelgen.shards.manifest import NO_CHANGES, AllowedChanges, settle_configuration
from ovocr.labelgen.sources import InputShard
from ovocr.labelgen.tagging.run_words import Words


class Destination:
    """A data set in a folder that a run writes. A context manager around the run."""

    # True if the files of finished shards stay in the folder.
    keeps_shards = True

    def __init__(self, data_set: LabelledDataSet) -> None:
        self.data_set = data_set

    def __enter__(self) -> "Destination":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does nothing, because files get their final names when they are complete."""

    def check(self, shards: list[InputShard]) -> None:
        """Raises OvocrError if the data set cannot be written. Writes nothing."""
        check_destination(self.data_set, shards)

    def settle(self, manifest: Manifest, words: Words | None, changes: AllowedChanges = NO_CHANGES) -> None:
        """Calls settle_configuration. Raises OvocrError."""
        settle_configuration(self.data_set, manifest, words, changes)

    def keys(self, number: int) -> list[str]:
        """Returns the keys of a finished shard's images, in order. Raises OvocrError."""
        return [key for keys in read_keys(self.data_set.records_path(number)) for key in keys.to_pylist()]

    def join(self) -> None:
        """Gets the configuration that another process has written. Raises OvocrError."""

    def see_finished(self) -> None:
        """Gets the statistics of shards that other processes have finished. Raises OvocrError."""

    def flush(self) -> None:
        """Waits until all shards are stored. Raises OvocrError."""

    def begin_shard(self, number: int) -> None:
        """Prepares a shard for writing or rewriting."""

    def finish_shard(self, number: int) -> None:
        """Stores a shard whose files are complete. Raises OvocrError."""


def check_destination(data_set: LabelledDataSet, shards: list[InputShard]) -> None:
    """Raises OvocrError if the folder is not writable or a source is inside the folder of the records.

    Writes nothing.
    """
    _check_writable(data_set.root)
    written = data_set.rec_prefix(0).parent.resolve()
    for source in dict.fromkeys(shard.source for shard in shards):
        path = Path(source).resolve()
        if written in (path, *path.parents):
            raise OvocrError(
                f"--out {data_set}: {source} is in a folder where shards are written; choose another --out"
            )


def _check_writable(root: Path) -> None:
    """Checks the folder, or its nearest existing parent if the folder does not exist."""
    nearest = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise OvocrError(f"--out {root}: {nearest} is not a folder; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OvocrError(f"--out {root}: {nearest} is not writable; change its permissions or choose another --out")
