"""The interface of a path of a source: a file or a folder, on disk or in an object store."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from ovocr.base.errors import OvocrError
from ovocr.base.object_store import describe_error, is_url
from ovocr.labelgen.sources.folder_files import FolderFiles
from ovocr.labelgen.sources.items import SourceItem

_Self = TypeVar("_Self", bound="SourcePath")


@dataclass(frozen=True)
class FileState:
    """Identifies the content of a file. size: bytes. version: differs after every change."""

    size: int
    version: str


def source_identity(name: str) -> str:
    """Returns the absolute path, or the URL, of a source: it may be named in several spellings."""
    return name.rstrip("/") if is_url(name) else os.path.abspath(name)


class SourcePath(ABC):
    """A file or a folder that images are read from. name: the path or URL, which messages show."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Opens the file for reading from front to back. Raises OvocrError, including for errors in the block."""
        try:
            with self._open() as file:
                yield file
        except OSError as error:
            raise OvocrError(f"{self.name}: cannot be read: {describe_error(error)}") from error

    @abstractmethod
    def _open(self) -> AbstractContextManager[IO[bytes]]: ...

    def sibling(self: _Self, suffix: str) -> _Self:
        """Returns the path of the file with a different suffix."""
        return type(self)(os.path.splitext(self.name)[0] + suffix)

    def child(self: _Self, name: str) -> _Self:
        """Returns the path of a file in this folder. name: its relative path."""
        return type(self)(f"{self.name.rstrip('/')}/{name}")

    @property
    @abstractmethod
    def is_glob(self) -> bool:
        """True if the name has wildcards and is not the name of a file or folder."""

    @abstractmethod
    def expand(self) -> list[str]:
        """Returns the names that match if ``name`` is a glob, else the name. Raises UsageError if it does not exist."""

    @abstractmethod
    def is_folder(self) -> bool:
        """Returns True for a folder and False for a file. Raises UsageError for anything else."""

    @abstractmethod
    def state(self) -> FileState:
        """Returns the file's state. Raises OSError, or OvocrError if an object store fails."""

    @abstractmethod
    def read_start(self, size: int) -> bytes:
        """Returns the first bytes of the file. Raises OSError, or OvocrError if an object store fails."""

    @abstractmethod
    def on_disk(self, *siblings: str) -> AbstractContextManager[Path]:
        """Yields a path of the file on disk, for random access, with its siblings of these suffixes next to it.

        An object is copied to a temporary folder, which is removed at the end of the block. Raises OvocrError.
        """

    @abstractmethod
    def list_files(self) -> FolderFiles:
        """Returns the sorted files of the folder and its subfolders. Raises OvocrError."""

    @abstractmethod
    def read_images(self, names: tuple[str, ...]) -> Iterator[SourceItem]:
        """Yields the folder's images at these relative paths, in order, with the path as key.

        An image that cannot be read is a Lost item. Raises OvocrError if an object store fails.
        """
