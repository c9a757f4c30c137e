"""Where images come from: one module a kind of source, each read as a stream of (key, bytes) in order."""

import glob
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.object_store import connect, describe_error, is_url, store_errors
from ovocr.labelgen.sources.files import FileState, file_state
from ovocr.labelgen.sources.folder import plan_folder, read_folder
from ovocr.labelgen.sources.parquet import plan_parquet, read_parquet
from ovocr.labelgen.sources.plan import Found, Ignored, InputShard, Lost, SourceItem
from ovocr.labelgen.sources.rec import plan_rec, read_rec
from ovocr.labelgen.sources.tar import plan_tar, read_tar

__all__ = ["Found", "Ignored", "InputShard", "Lost", "SourceItem", "plan_shards", "read_shard"]

# A request to an object store takes tens of milliseconds, whatever is asked for.
_REQUESTS = 32
_KINDS = ".tar (not compressed), .rec, .parquet, a folder, or a glob of these"


def plan_shards(sources: tuple[str, ...], shard_size: int) -> list[InputShard]:
    """The input in shards, in the order given, what a glob matches sorted by name.

    Raises UsageError for a source that is missing, of another kind, or without images.
    """
    paths = [path for source in sources for path in _expand(source)]
    if not any(map(is_url, paths)):
        return [shard for path in paths for shard in _plan(path, shard_size)]
    with ThreadPoolExecutor(_REQUESTS) as executor:
        plans = executor.map(lambda path: _plan(path, shard_size), paths)
        return [shard for shards in plans for shard in shards]


def read_shard(shard: InputShard) -> Iterator[SourceItem]:
    """The shard's images in order.

    Raises OvocrError where the source cannot be read at all, is another file than when the run was planned, or becomes
    one while it is read.
    """
    if shard.kind == "folder":
        return read_folder(shard)
    return _read_unchanged(shard)


def _read_unchanged(shard: InputShard) -> Iterator[SourceItem]:
    before = _state(shard.source)
    if before is not None and shard.size not in (None, before.size):
        raise OvocrError(
            f"{shard.source}: has {before.size} bytes, had {shard.size} when the run was planned; "
            "put it back, or choose another --out"
        )
    yield from _read_archive(shard)
    if before is not None and before != _state(shard.source):
        raise OvocrError(f"{shard.source}: changed while it was read; run the command again once it is complete")


def _state(source: str) -> FileState | None:
    """None where there is no file: reading it says so."""
    try:
        return file_state(source)
    except OSError:
        return None


def _read_archive(shard: InputShard) -> Iterator[SourceItem]:
    if shard.kind == "tar":
        return read_tar(shard)
    if shard.kind == "rec":
        return read_rec(shard)
    return read_parquet(shard)


def _expand(source: str) -> list[str]:
    if is_url(source):
        return _expand_url(source)
    if os.path.lexists(source):
        return [source]
    if not glob.has_magic(source):
        raise UsageError(f"{source}: no such file or folder")
    return _matches(source, glob.glob(source, recursive=True))


def _expand_url(source: str) -> list[str]:
    if not glob.has_magic(source):
        return [source.rstrip("/")]
    system, pattern = connect(source)
    with store_errors(source):
        paths = system.glob(pattern)
    return _matches(source, [str(system.unstrip_protocol(path)) for path in paths])


def _matches(source: str, paths: list[str]) -> list[str]:
    # A glob of all files meets the indexes beside the .rec files.
    indexes = {path.removesuffix(".rec") + ".idx" for path in paths if path.endswith(".rec")}
    paths = sorted(path for path in paths if path not in indexes)
    if not paths:
        raise UsageError(f"{source}: no file or folder matches")
    return paths


def _plan(path: str, shard_size: int) -> list[InputShard]:
    if _is_folder(path):
        return plan_folder(path, shard_size)
    if not is_url(path) and not os.path.isfile(path):
        raise UsageError(f"{path}: neither a file nor a folder")
    suffix = os.path.splitext(path)[1]
    if suffix == ".tar":
        return [plan_tar(path)]
    if suffix == ".rec":
        return [plan_rec(path)]
    if suffix == ".parquet":
        return [plan_parquet(path)]
    raise UsageError(f"{path}: unknown kind of source; there are: {_KINDS}")


def _is_folder(path: str) -> bool:
    if not is_url(path):
        return os.path.isdir(path)
    system, inner = connect(path)
    try:
        with store_errors(path):
            return bool(system.info(inner)["type"] == "directory")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: {describe_error(error)}") from error
