"""A source that was found by its name, before it is planned."""

from dataclasses import dataclass, field

from ovocr.base.errors import UsageError
from ovocr.labelgen.sources.source_path import SourcePath


@dataclass
class FoundSource:
    """A source that was found by its name.

    names: the sorted relative paths of a folder's images. ignored: number of files beside the source that are not read.
    beside_images: True if a table without images is metadata of other sources, not a mistake.
    folder: the folder that was named, if the source is an archive or a table that was found in it.
    repeated: how often the source, or images of it, were named again.
    """

    path: SourcePath
    kind: str
    names: list[str] = field(default_factory=list)
    ignored: int = 0
    beside_images: bool = False
    folder: str | None = None
    repeated: int = 0


class NoImagesError(UsageError):
    """A table has no column with encoded images, and no paths that the options allow to read."""
