"""Sources on disk."""

import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import as_text
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.items import (
    MAX_FILE_BYTES,
    Found,
    Lost,
    SourceItem,
    is_image_name,
    too_large,
)
from ovocr.labelgen.sources.source_path import FileState, SourcePath


class LocalPath(SourcePath):
    """A file or a folder on disk. Its spelling makes no difference: ``./a`` and ``a/`` have the name ``a``."""

    def __init__(self, name: str) -> None:
        super().__init__(Path(name).as_posix() if name else name)

    def expand(self) -> list[str]:
        """Raises UsageError if the path does not exist and is not a glob."""
        if os.path.lexists(self.name):
            return [self.name]
        if not glob.has_magic(self.name):
            raise UsageError(f"{self.name}: no such file or folder")
        return glob.glob(self.name, recursive=True)

    def is_folder(self) -> bool:
        """Raises UsageError for a pipe, a device or a broken link."""
        if os.path.isdir(self.name):
            return True
        if os.path.isfile(self.name):
            return False
        raise UsageError(f"{self.name}: neither a file nor a folder")

    def state(self) -> FileState:
        """Returns the state; its version is the time of the last change and the inode."""
        status = os.stat(self.name)
        return FileState(status.st_size, f"{status.st_mtime_ns} {status.st_ino}")

    def _open(self) -> IO[bytes]:
        return open(self.name, "rb")

    def read_start(self, size: int) -> bytes:
        """Reads the file directly."""
        with self._open() as file:
            return file.read(size)

    @contextmanager
    def on_disk(self, *siblings: str) -> Iterator[Path]:
        """Yields the path itself."""
        yield Path(self.name)

    def list_images(self) -> tuple[list[str], int]:
        """Does not follow links to folders, which may form a loop: each link counts as one other file."""
        names: list[str] = []
        others = 0
        for folder, subfolders, files in os.walk(self.name, onerror=_raise):
            others += sum(os.path.islink(os.path.join(folder, name)) for name in subfolders)
            images = [name for name in files if is_image_name(name)]
            others += len(files) - len(images)
            names += [Path(folder, name).relative_to(self.name).as_posix() for name in images]
        return names, others

    def read_images(self, names: tuple[str, ...]) -> Iterator[SourceItem]:
        """Reads one file after the other."""
        for name in names:
            yield _read_image(os.path.join(self.name, name), as_text(name))


def _raise(error: OSError) -> None:
    raise OvocrError(f"{error.filename}: this folder cannot be read: {error.strerror}")


def _read_image(path: str, key: str) -> SourceItem:
    try:
        # O_NONBLOCK: opening a pipe that has an image's name must not block.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return Lost(key, Reason.UNREADABLE, "not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                return too_large(key, status.st_size)
            return Found(key, file.read())
    except OSError as error:
        return Lost(key, Reason.UNREADABLE, error.strerror or type(error).__name__)
