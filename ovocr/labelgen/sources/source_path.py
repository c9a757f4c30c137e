"""The interface of a path of a source: a file or a folder, on disk or in an object store."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from ovocr.labelgen.sources.items import SourceItem


@dataclass(frozen=True)
class FileState:
    """Identifies the content of a file. size: bytes. version: differs after every change."""

    size: int
    version: str


class SourcePath(Protocol):
    """A file or a folder that images are read from. name: the path or URL, which messages show."""

    name: str

    def expand(self) -> list[str]:
        """Returns the names that match if ``name`` is a glob, else the name. Raises UsageError if it does not exist."""

    def is_folder(self) -> bool:
        """Returns True for a folder and False for a file. Raises UsageError for anything else."""

    def state(self) -> FileState:
        """Returns the file's state. Raises OSError, or OvocrError if an object store fails."""

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Opens the file for reading from front to back. Raises OvocrError, also for errors inside the block."""

    def read_start(self, size: int) -> bytes:
        """Returns the first bytes of the file. Raises OSError, or OvocrError if an object store fails."""

    def sibling(self, suffix: str) -> "SourcePath":
        """Returns the path of the file with another suffix."""

    def on_disk(self, *siblings: str) -> AbstractContextManager[Path]:
        """Yields a path of the file on disk, for random access, with its siblings of these suffixes beside it.

        An object is copied to a temporary folder, which is removed at the end of the block. Raises OvocrError.
        """

    def list_images(self) -> tuple[list[str], int]:
        """Returns the relative paths of all images in the folder, and the number of other files. Raises OvocrError."""

    def read_images(self, names: tuple[str, ...]) -> Iterator[SourceItem]:
        """Yields the folder's images of these relative paths, in order, with the path as key.

        An image that cannot be read is a Lost item. Raises OvocrError if an object store fails.
        """
