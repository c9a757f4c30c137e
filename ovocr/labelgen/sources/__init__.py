"""Sources of images: .tar, .rec and .parquet files and folders, on disk or in an object store.

A kind of source is a module with ``plan`` and ``read``, listed in KINDS. Imports base, dataset and recordio.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.object_store import is_url
from ovocr.labelgen.sources import folder, parquet, rec, tar
from ovocr.labelgen.sources.input_shard import InputShard
from ovocr.labelgen.sources.items import Found, Ignored, Lost, SourceItem
from ovocr.labelgen.sources.local_path import LocalPath
from ovocr.labelgen.sources.source_path import FileState, SourcePath
from ovocr.labelgen.sources.store_path import StorePath

__all__ = ["KINDS", "Found", "Ignored", "InputShard", "Lost", "SourceItem", "plan_shards", "read_shard"]


class SourceKind(Protocol):
    """A module that reads one kind of source."""

    def plan(self, path: SourcePath, shard_size: int) -> list[InputShard]:
        """Returns the shards of the source. Raises UsageError if it has no images."""

    def read(self, path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
        """Yields the shard's images in order. Raises OvocrError if the source cannot be read at all."""


# The names are SOURCE_KINDS of the manifest. The name of a kind of file is also its suffix.
KINDS: dict[str, SourceKind] = {"folder": folder, "tar": tar, "rec": rec, "parquet": parquet}
_KINDS_TEXT = ".tar (not compressed), .rec, .parquet, a folder, or a glob of these"
# A request to an object store takes tens of milliseconds, even for few bytes.
_PARALLEL_REQUESTS = 32


def plan_shards(sources: tuple[str, ...], shard_size: int) -> list[InputShard]:
    """Returns the shards of all sources in the order given. Matches of a glob are sorted by name.

    Raises UsageError for a source that is missing, of an unknown kind, or without images.
    """
    paths = [path for source in sources for path in _expand(source)]
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as executor:
        plans = executor.map(lambda path: KINDS[_kind(path)].plan(path, shard_size), paths)
        return [shard for shards in plans for shard in shards]


def read_shard(shard: InputShard) -> Iterator[SourceItem]:
    """Yields the shard's images in order.

    Raises OvocrError if the source cannot be read at all, if its size has changed since the run was planned, or if it
    changes while it is read.
    """
    path = _source_path(shard.source)
    items = KINDS[shard.kind].read(path, shard)
    return items if shard.kind == "folder" else _check_unchanged(path, shard.size, items)


def _source_path(name: str) -> SourcePath:
    return StorePath(name) if is_url(name) else LocalPath(name)


def _expand(source: str) -> list[SourcePath]:
    names = _source_path(source).expand()
    # A glob that matches all files also matches the indexes of .rec files.
    indexes = {name.removesuffix(".rec") + ".idx" for name in names if name.endswith(".rec")}
    paths = [_source_path(name) for name in sorted(names) if name not in indexes]
    if not paths:
        raise UsageError(f"{source}: no file or folder matches")
    return paths


def _kind(path: SourcePath) -> str:
    if path.is_folder():
        return "folder"
    kind = os.path.splitext(path.name)[1].removeprefix(".")
    if kind not in KINDS or kind == "folder":
        raise UsageError(f"{path.name}: unknown kind of source; allowed: {_KINDS_TEXT}")
    return kind


def _check_unchanged(path: SourcePath, size: int | None, items: Iterator[SourceItem]) -> Iterator[SourceItem]:
    """Yields the items of a file. size: bytes of the file when the run was planned; None if it must not be checked."""
    before = _state(path)
    if before is not None and size not in (None, before.size):
        raise OvocrError(
            f"{path.name}: has {before.size} bytes, had {size} when the run was planned; "
            "restore the file or choose another --out"
        )
    yield from items
    if before is not None and before != _state(path):
        raise OvocrError(f"{path.name}: changed while it was read; run the command again once it is complete")


def _state(path: SourcePath) -> FileState | None:
    """Returns the file's state, or None if there is no file: reading it raises the error."""
    try:
        return path.state()
    except OSError:
        return None
