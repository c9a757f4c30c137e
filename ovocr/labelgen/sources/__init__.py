"""Where images come from: one module a kind of source, each read as a stream of (key, bytes) in order."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from ovocr.errors import OvocrError, UsageError
from ovocr.labelgen.sources.folder import plan_folder, read_folder
from ovocr.labelgen.sources.parquet import plan_parquet, read_parquet
from ovocr.labelgen.sources.plan import Found, Ignored, InputShard, Lost, SourceItem, as_text
from ovocr.labelgen.sources.rec import plan_rec, read_rec
from ovocr.labelgen.sources.tar import plan_tar, read_tar

__all__ = ["Found", "Ignored", "InputShard", "Lost", "SourceItem", "as_text", "plan_shards", "read_shard"]

_KINDS = ".tar (not compressed), .rec, .parquet, a folder, or a glob of these"


def plan_shards(sources: tuple[str, ...], shard_size: int) -> list[InputShard]:
    """The input in shards, in the order given, what a glob matches sorted by name.

    Raises UsageError for a source that is missing, of another kind, or without images.
    """
    return [shard for source in sources for path in _expand(source) for shard in _plan(path, shard_size)]


def read_shard(shard: InputShard) -> Iterator[SourceItem]:
    """The shard's images in order.

    Raises OvocrError where the source cannot be read at all, is another file than when the run was planned, or becomes
    one while it is read.
    """
    if shard.kind == "folder":
        return read_folder(shard)
    return _read_unchanged(shard)


def _read_unchanged(shard: InputShard) -> Iterator[SourceItem]:
    before = _stamp(shard.source)
    if before is not None and shard.size not in (None, before[0]):
        raise OvocrError(
            f"{shard.source}: has {before[0]} bytes, had {shard.size} when the run was planned; "
            "put it back, or choose another --out"
        )
    yield from _read_archive(shard)
    if before is not None and before != _stamp(shard.source):
        raise OvocrError(f"{shard.source}: changed while it was read; run the command again once it is complete")


def _stamp(source: str) -> tuple[int, int, int] | None:
    """Size and what else tells a file from another one in its place; None where there is none, which reading says."""
    try:
        status = os.stat(source)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read_archive(shard: InputShard) -> Iterator[SourceItem]:
    if shard.kind == "tar":
        return read_tar(shard)
    if shard.kind == "rec":
        return read_rec(shard)
    return read_parquet(shard)


def _expand(source: str) -> list[str]:
    if os.path.lexists(source):
        return [source]
    if not glob.has_magic(source):
        raise UsageError(f"{source}: no such file or folder")
    paths = glob.glob(source, recursive=True)
    # A glob of all files meets the indexes beside the .rec files.
    indexes = {str(Path(path).with_suffix(".idx")) for path in paths if path.endswith(".rec")}
    paths = sorted(path for path in paths if path not in indexes)
    if not paths:
        raise UsageError(f"{source}: no file or folder matches")
    return paths


def _plan(path: str, shard_size: int) -> list[InputShard]:
    if os.path.isdir(path):
        return plan_folder(path, shard_size)
    if not os.path.isfile(path):
        raise UsageError(f"{path}: neither a file nor a folder")
    suffix = Path(path).suffix
    if suffix == ".tar":
        return [plan_tar(path)]
    if suffix == ".rec":
        return [plan_rec(path)]
    if suffix == ".parquet":
        return [plan_parquet(path)]
    raise UsageError(f"{path}: unknown kind of source; there are: {_KINDS}")
