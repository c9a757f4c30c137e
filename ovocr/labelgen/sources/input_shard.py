"""The part of a source that becomes one shard of the data set."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ovocr.base.errors import OvocrError
from ovocr.base.escape import as_text
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import DEFAULT_SOURCE_OPTIONS, Manifest, ShardEntry, SourceOptions
from ovocr.labelgen.sources.source_path import SourcePath


@dataclass(frozen=True, kw_only=True)
class InputShard:
    """The part of a source that becomes one shard of the data set. Picklable.

    source: path or URL. kind: one of SOURCE_KINDS.
    images: number of images; None if it is unknown before reading.
    size: size of a file in bytes; None for a folder or a list, or if the size must not be checked.
    start, stop: range in a folder's or list's images. names: the relative paths in that range. names_sha256: hash of
    these paths. ignored: number of files beside the images that are not read, counted at the first shard.
    options: how to read a table.
    listed: the shard's entry in the manifest of a data set that has it already; None if the run adds it.
    """

    source: str
    kind: str
    start: int | None = None
    stop: int | None = None
    names: tuple[str, ...] = field(default=(), repr=False)
    ignored: int = 0
    images: int | None = None
    size: int | None = None
    names_sha256: str | None = None
    options: SourceOptions = DEFAULT_SOURCE_OPTIONS
    listed: ShardEntry | None = field(default=None, repr=False)

    @property
    def entry(self) -> ShardEntry:
        """The shard's entry in the manifest. A different size or different names mean a different source."""
        return self.listed or ShardEntry(
            source=as_text(self.source),
            kind=self.kind,
            size=self.size,
            start=self.start,
            stop=self.stop,
            names_sha256=self.names_sha256,
        )


def hash_names(names: Sequence[str]) -> str:
    """Returns the hash of a shard's relative paths, in order."""
    return hashlib.sha256(b"\0".join(map(os.fsencode, names))).hexdigest()


def file_shard(
    path: SourcePath, kind: str, images: int | None, options: SourceOptions = DEFAULT_SOURCE_OPTIONS
) -> InputShard:
    """Returns a whole file as one shard. Raises OSError, or OvocrError if an object store fails."""
    return InputShard(source=path.name, kind=kind, images=images, size=path.state().size, options=options)


def named_shards(path: SourcePath, kind: str, names: list[str], shard_size: int) -> list[InputShard]:
    """Returns the images with these names, in this order, as shards of ``shard_size`` images."""
    parts = [tuple(names[start : start + shard_size]) for start in range(0, len(names), shard_size)]
    return [
        InputShard(
            source=path.name,
            kind=kind,
            start=number * shard_size,
            stop=number * shard_size + len(part),
            names=part,
            images=len(part),
            names_sha256=hash_names(part),
        )
        for number, part in enumerate(parts)
    ]


def find_input(data_set: LabelledDataSet, manifest: Manifest, number: int) -> InputShard:
    """Returns the input of a finished shard. manifest: the data set's manifest.

    Raises OvocrError if the manifest does not list the shard.
    """
    counts = data_set.counts(number)
    if number >= len(manifest.shards):
        raise OvocrError(
            data_set.shown(
                f"{data_set.manifest_path}: does not list shard {number}, but {data_set.stats_path(number)} exists; "
                "restore both files"
            )
        )
    return InputShard(
        **vars(manifest.shards[number]),
        ignored=counts.ignored,
        images=counts.input,
        options=manifest.source_options,
    )
