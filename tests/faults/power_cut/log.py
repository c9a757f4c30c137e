"""The log of what a program did to a file system: one entry for each change and each fsync, in order."""

import pickle
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE, FOLDER, LINK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK


@dataclass(frozen=True, slots=True)
class Begin:
    """The program starts: the entries before describe what was there, all of it on disk."""


@dataclass(frozen=True, slots=True)
class Create:
    """A new file, folder or symbolic link (``kind``). target: that of a symbolic link."""

    parent: int
    name: bytes
    node: int
    kind: int
    mode: int
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Link:
    """Another name of a file."""

    parent: int
    name: bytes
    node: int


@dataclass(frozen=True, slots=True)
class Remove:
    """A name of a file, or an empty folder, is removed."""

    parent: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Rename:
    """A file or folder gets another name and perhaps another folder."""

    parent: int
    name: bytes
    new_parent: int
    new_name: bytes


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes of a file."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """The size of a file in bytes."""

    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """fsync of a file or a folder."""

    node: int


Entry = Begin | Create | Link | Remove | Rename | Write | Truncate | Sync


def read_log(path: Path) -> list[Entry]:
    """Returns the entries of a log."""

    def entries() -> Iterator[Entry]:
        with path.open("rb") as file:
            while file.peek(1):
                yield pickle.load(file)

    return list(entries())
