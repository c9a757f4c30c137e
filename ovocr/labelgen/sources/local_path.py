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
from ovocr.labelgen.sources.folder_files import FolderFiles
from ovocr.labelgen.sources.items import MAX_FILE_BYTES, Found, Lost, SourceItem, too_large
from ovocr.labelgen.sources.source_path import FileState, SourcePath


class LocalPath(SourcePath):
    """A file or a folder on disk. Its spelling makes no difference: ``./a`` and ``a/`` have the name ``a``."""

    def __init__(self, name: str) -> None:
        super().__init__(Path(name).as_posix() if name else name)

    @property
    def is_glob(self) -> bool:
        """A name with wildcards that exists is not a glob."""
        return glob.has_magic(self.name) and not os.path.lexists(self.name)

    def expand(self) -> list[str]:
        """Raises UsageError if the path does not exist and is not a glob."""
        if self.is_glob:
            return glob.glob(self.name, recursive=True)
        if not os.path.lexists(self.name):
            raise UsageError(f"{self.name}: no such file or folder")
        return [self.name]

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

    def list_files(self) -> FolderFiles:
        """Does not follow links to folders, which may form a loop: each link counts as one other file.

        Raises UsageError for an archive that is a pipe, a device or a broken link.
        """
        found = FolderFiles()
        for folder, subfolders, files in os.walk(self.name, onerror=_raise):
            found.others += sum(os.path.islink(os.path.join(folder, name)) for name in subfolders)
            for name in files:
                found.add(Path(folder, name).relative_to(self.name).as_posix())
        found.sort()
        for name in found.archives:
            self.child(name).is_folder()  # a pipe would block
        return found

    def read_images(self, names: tuple[str, ...]) -> Iterator[SourceItem]:
        """Reads one file after the other."""
        for name in names:
            yield read_image(os.path.join(self.name, name), as_text(name))


def _raise(error: OSError) -> None:
    raise OvocrError(f"{error.filename}: this folder cannot be read: {error.strerror}")


def read_image(path: str, key: str) -> SourceItem:
    """Returns the image in a file, or a Lost item if the file cannot be read."""
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
    except ValueError as error:  # a zero byte in a path from a table
        return Lost(key, Reason.UNREADABLE, str(error))
