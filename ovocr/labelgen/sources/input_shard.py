"""The part of a source that becomes one shard of the data set."""

from dataclasses import dataclass, field

from ovocr.base.escape import as_text
from ovocr.dataset.manifest import ShardEntry
from ovocr.labelgen.sources.source_path import SourcePath


@dataclass(frozen=True, kw_only=True)
class InputShard:
    """The part of a source that becomes one shard of the data set. Picklable.

    source: path or URL. kind: tar, rec, parquet or folder. images: their number; None if it is unknown before reading.
    Of a file: size: bytes; None if the size must not be checked. Of a folder: start, stop: range in its sorted list of
    images. names: the relative paths in that range. names_sha256: their hash. ignored: files that are not images,
    counted at the first shard of the folder.
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

    @property
    def entry(self) -> ShardEntry:
        """The shard's entry in the manifest. Another size, or other names, mean another source."""
        return ShardEntry(
            source=as_text(self.source),
            kind=self.kind,
            size=self.size,
            start=self.start,
            stop=self.stop,
            names_sha256=self.names_sha256,
        )


def file_shard(path: SourcePath, kind: str, images: int | None) -> InputShard:
    """Returns a whole file as one shard. Raises OSError, or OvocrError if an object store fails."""
    return InputShard(source=path.name, kind=kind, images=images, size=path.state().size)
