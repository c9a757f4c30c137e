"""Where a data set is to be made: can it be written, and does it hold anything that it would replace?"""

import os
from pathlib import Path
from types import TracebackType

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.labelgen.shards.manifest import settle_configuration
from ovocr.labelgen.sources import InputShard
from ovocr.labelgen.tagging.run_words import Words


class Destination:
    """A data set in a folder, as a run makes it; a context manager around the run."""

    # Are the files of finished shards in the folder?
    keeps_shards = True

    def __init__(self, data_set: LabelledDataSet) -> None:
        self.data_set = data_set

    def __enter__(self) -> "Destination":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to do: files have got their names as they were complete."""

    def check(self, shards: list[InputShard]) -> None:
        """Raises OvocrError where the data set cannot be written. Writes nothing."""
        check_destination(self.data_set, shards)

    def settle(self, manifest: Manifest, words: Words | None) -> None:
        """As settle_configuration does. Raises OvocrError."""
        settle_configuration(self.data_set, manifest, words)

    def join(self) -> None:
        """Another process has begun the data set since: take its configuration. Raises OvocrError."""

    def see_finished(self) -> None:
        """Other processes have finished shards since: have their statistics at hand. Raises OvocrError."""

    def flush(self) -> None:
        """Return once all shards are where they belong. Raises OvocrError."""

    def begin_shard(self, number: int) -> None:
        """The shard is going to be made, again if it is there."""

    def finish_shard(self, number: int) -> None:
        """The shard's files are complete. Raises OvocrError."""


def check_destination(data_set: LabelledDataSet, shards: list[InputShard]) -> None:
    """Raises OvocrError where the folder cannot be written, or a source lies where the shards' pictures go.

    Writes nothing.
    """
    _check_writable(data_set.root)
    written = data_set.rec_prefix(0).parent.resolve()
    for source in dict.fromkeys(shard.source for shard in shards):
        path = Path(source).resolve()
        if written in (path, *path.parents):
            raise OvocrError(f"--out {data_set}: {source} lies where its shards are written; choose another --out")


def _check_writable(root: Path) -> None:
    """The folder itself, or the nearest one above it that is there: the others will be made in it."""
    nearest = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise OvocrError(f"--out {root}: {nearest} is not a folder; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OvocrError(f"--out {root}: {nearest} cannot be written to; allow it or choose another --out")
