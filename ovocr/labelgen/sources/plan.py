"""What is read and in which pieces: a shard of the input, and what reading it gives."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ovocr.base.escape import as_text
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.reasons import Reason

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
# Larger than any photograph; a member that claims more is not read into memory.
MAX_FILE_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class InputShard:
    """A piece of the input that becomes one shard of the output.

    source: path as given. kind: tar, rec, parquet or folder. start, stop: the piece's place in the folder's sorted
    list of images. names: relative paths of the piece, for a folder. ignored: files of the folder that are not
    images, at its first shard. images: how many there are, where that is known without reading. size: bytes of the
    source file; None for a folder, and where it is not known. names_sha256: of the names, for a folder.
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
        """The shard in the manifest."""
        return ShardEntry(
            source=as_text(self.source),
            kind=self.kind,
            size=self.size,
            start=self.start,
            stop=self.stop,
            names_sha256=self.names_sha256,
        )


@dataclass(frozen=True)
class Found:
    """An image: its key inside the source and its encoded bytes."""

    key: str
    data: bytes


@dataclass(frozen=True)
class Lost:
    """An input that cannot be read from its source: an image, or what a damaged archive still held."""

    key: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Ignored:
    """A file or member that is not an image."""


SourceItem = Found | Lost | Ignored


def is_image_name(name: str) -> bool:
    """Does the name end as image files do (in any case)?"""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def too_large(key: str, size: int) -> Lost:
    """The outcome for an image of ``size`` bytes, more than is read."""
    return Lost(key, Reason.FILE_TOO_LARGE, f"{size} bytes, at most {MAX_FILE_BYTES} are read")
