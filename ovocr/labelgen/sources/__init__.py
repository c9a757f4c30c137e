"""Sources of images: image files, archives, tables, lists and folders of these, on disk or in an object store.

A kind of source is a module with ``plan`` and ``read``, listed in KINDS. Imports base, dataset and recordio.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.plural import counted
from ovocr.dataset.manifest import DEFAULT_SOURCE_OPTIONS, SourceOptions
from ovocr.labelgen.sources import file_list, folder
from ovocr.labelgen.sources.archives import rec, tar, zip_file
from ovocr.labelgen.sources.file_kinds import TABLES
from ovocr.labelgen.sources.file_list import read_names
from ovocr.labelgen.sources.finding import find_sources, source_path
from ovocr.labelgen.sources.found_source import FoundSource, NoImagesError
from ovocr.labelgen.sources.image_tables import arrow, parquet
from ovocr.labelgen.sources.input_shard import InputShard
from ovocr.labelgen.sources.items import Found, Ignored, Lost, SourceItem
from ovocr.labelgen.sources.source_path import FileState, SourcePath

__all__ = [
    "FOLDERS",
    "KINDS",
    "LIST",
    "Found",
    "Ignored",
    "InputShard",
    "Lost",
    "SourceItem",
    "listed_names",
    "plan_shards",
    "read_shard",
]


class SourceKind(Protocol):
    """A module that reads one kind of source."""

    def plan(self, found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
        """Returns the shards of the source. Raises UsageError if it has no images."""

    def read(self, path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
        """Yields the shard's images in order. Raises OvocrError if the source cannot be read at all."""


# The names are SOURCE_KINDS of the manifest.
KINDS: dict[str, SourceKind] = {
    "folder": folder,
    "files": folder,
    "list": file_list,
    "tar": tar,
    "zip": zip_file,
    "rec": rec,
    "parquet": parquet,
    "arrow": arrow,
}
# Kinds whose images are files with names, read by these names.
FOLDERS = ("folder", "files")
LIST = "list"
# A request to an object store takes tens of milliseconds, even for few bytes.
_PARALLEL_REQUESTS = 32


def plan_shards(
    sources: tuple[str, ...],
    shard_size: int,
    options: SourceOptions = DEFAULT_SOURCE_OPTIONS,
    notify: Callable[[str], None] = lambda line: None,
    append: bool = False,
) -> list[InputShard]:
    """Returns the shards of all sources in the order given, each source once. Matches of a glob are sorted by name.

    notify: is called with a line about what the user may not expect. append: the data set may have more sources.
    Raises UsageError for a source that is missing, of an unknown kind, or without images, and, unless ``append``, for
    options that no source uses.
    """
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as executor:
        found = find_sources(sources, executor)
        if not append:
            _check_options(options, found)
        plans = list(executor.map(lambda each: _plan(each, shard_size, options), found))
    for line in _notices(found, plans):
        notify(line)
    return _with_ignored(found, plans)


def _plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the shards of a source; none for a table that has no images and is metadata of other sources."""
    try:
        return KINDS[found.kind].plan(found, shard_size, options)
    except NoImagesError:
        if found.beside_images:
            return []
        raise


def _notices(found: list[FoundSource], plans: list[list[InputShard]]) -> Iterator[str]:
    """Yields lines about what is read or ignored and may be a surprise."""
    metadata = [each.path.name for each, shards in zip(found, plans, strict=True) if not shards]
    if metadata:
        yield f"ignores {counted(len(metadata), 'table')} without images beside the images, such as {metadata[0]}"
    for source in found:
        if source.repeated:
            yield f"{source.path.name}: was named more than once and is read once"
        if source.kind != "folder":  # there may be thousands of other sources
            continue
        archives = [
            each.path.name
            for each, shards in zip(found, plans, strict=True)
            if each.folder == source.path.name and shards
        ]
        if archives:
            yield (
                f"{source.path.name}: reads {counted(len(source.names), 'image file')} and "
                f"{counted(len(archives), 'other source')}, such as {archives[0]}; "
                "name the sources one by one if any of them has the images of another"
            )


def _with_ignored(found: list[FoundSource], plans: list[list[InputShard]]) -> list[InputShard]:
    """Returns the shards of all plans. The first one after ignored files has their number."""
    result: list[InputShard] = []
    ignored = 0
    for each, shards in zip(found, plans, strict=True):
        ignored += each.ignored + (not shards)
        if shards:
            result += [replace(shards[0], ignored=ignored), *shards[1:]]
            ignored = 0
    result[-1] = replace(result[-1], ignored=result[-1].ignored + ignored)
    return result


def _check_options(options: SourceOptions, found: list[FoundSource]) -> None:
    if any(each.kind in TABLES for each in found):
        return
    for name, value in options.describe().items():
        raise UsageError(
            f"--{name.replace('_', '-')} {value}: has no effect, because no SOURCE is a .parquet or .arrow file; "
            "leave it out"
        )


def read_shard(shard: InputShard) -> Iterator[SourceItem]:
    """Yields the shard's images in order.

    Raises OvocrError if the source cannot be read at all, if its size has changed since the run was planned, or if it
    changes while it is read.
    """
    path = source_path(shard.source)
    items = KINDS[shard.kind].read(path, shard)
    return items if shard.kind in (*FOLDERS, LIST) else _check_unchanged(path, shard.size, items)


def listed_names(shard: InputShard) -> list[str]:
    """Returns the paths of a shard of kind LIST, read from the list. Raises OvocrError if it cannot be read."""
    return read_names(source_path(shard.source))[shard.start : shard.stop]


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
