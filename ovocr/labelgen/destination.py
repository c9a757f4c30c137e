"""Where a data set is to be made: can it be written, and does it hold anything that it would replace?"""

import os
from pathlib import Path

from ovocr.dataset import LabelledDataSet
from ovocr.errors import OvocrError
from ovocr.labelgen.sources import InputShard


def check_destination(data_set: LabelledDataSet, shards: list[InputShard]) -> None:
    """Raises OvocrError where the folder cannot be written, or a source lies where the shards' pictures go.

    Writes nothing.
    """
    _check_writable(data_set.root)
    written = data_set.rec_prefix(0).parent.resolve()
    for source in dict.fromkeys(shard.source for shard in shards):
        path = Path(source).resolve()
        if written in (path, *path.parents):
            raise OvocrError(f"--out {data_set.root}: {source} lies where its shards are written; choose another --out")


def _check_writable(root: Path) -> None:
    """The folder itself, or the nearest one above it that is there: the others will be made in it."""
    nearest = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise OvocrError(f"--out {root}: {nearest} is not a folder; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OvocrError(f"--out {root}: {nearest} cannot be written to; allow it or choose another --out")


def check_nothing_foreign(data_set: LabelledDataSet) -> None:
    """Raises OvocrError where there are files of shards, but no manifest that says how they were made."""
    found = next(data_set.shard_files(), None)
    # Another process may have begun the data set since: its manifest came before its shards.
    if found is not None and not data_set.manifest_path.exists():
        raise OvocrError(
            f"{data_set.root}: has {found.relative_to(data_set.root)}, but no manifest.json to say how it was made; "
            "put that back or choose another --out"
        )
