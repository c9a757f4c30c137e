"""Sources in an object store. Requests are slow: files are read ahead, images of a folder are fetched in parallel."""

import glob
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import as_text
from ovocr.base.object_store import connect, describe_error, store_errors
from ovocr.base.parallel_reads import in_parallel
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.folder_files import FolderFiles
from ovocr.labelgen.sources.items import MAX_FILE_BYTES, Found, Lost, SourceItem, too_large
from ovocr.labelgen.sources.source_path import FileState, SourcePath

# A file is read in blocks of this size, in the background and ahead of the reader.
_BLOCK_BYTES = 8 * 2**20
_BLOCKS_CACHED = 4


class StorePath(SourcePath):
    """A file or a folder in an object store. Raises UsageError for an unknown scheme, or MissingExtraError."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._store = connect(url)

    @property
    def is_glob(self) -> bool:
        """Any name with wildcards is a glob."""
        return glob.has_magic(self.name)

    def expand(self) -> list[str]:
        """Matches a glob against the objects of the store."""
        if not self.is_glob:
            return [self.name.rstrip("/")]
        with self._store.errors():
            paths = self._store.system.glob(self._store.path)
        return [str(self._store.system.unstrip_protocol(path)) for path in paths]

    def is_folder(self) -> bool:
        """Raises UsageError if the object does not exist."""
        try:
            with self._store.errors():
                return bool(self._store.system.info(self._store.path)["type"] == "directory")
        except FileNotFoundError as error:
            raise UsageError(f"{self.name}: {describe_error(error)}") from error

    def state(self) -> FileState:
        """Returns the state; its version is the store's own identifier of the content."""
        system, path = self._store.system, self._store.path
        with self._store.errors():
            return FileState(int(system.info(path)["size"]), str(system.ukey(path)))

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        # Fetches blocks ahead of the reader.
        cache = {"cache_type": "background", "cache_options": {"maxblocks": _BLOCKS_CACHED}}
        with (
            self._store.errors(),
            self._store.system.open(self._store.path, "rb", block_size=_BLOCK_BYTES, **cache) as file,
        ):
            yield file

    def read_start(self, size: int) -> bytes:
        """Fetches only these bytes."""
        with self._store.errors():
            data: bytes = self._store.system.cat_file(self._store.path, start=0, end=size)
            return data

    @contextmanager
    def on_disk(self, *siblings: str) -> Iterator[Path]:
        """Copies the objects to a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="ovocr-source-", ignore_cleanup_errors=True) as folder:
            copy, *_ = [path._download(Path(folder)) for path in (self, *map(self.sibling, siblings))]
            yield copy

    def _download(self, folder: Path) -> Path:
        copy = folder / self._store.path.rpartition("/")[2]
        try:
            with self._store.errors():
                self._store.system.get_file(self._store.path, str(copy))
        except FileNotFoundError as error:
            raise OvocrError(f"{self.name}: cannot be read: {describe_error(error)}") from error
        return copy

    def list_files(self) -> FolderFiles:
        """Lists the folder in as few requests as the store allows."""
        folder = self._store.path
        try:
            with self._store.errors():
                paths: list[str] = self._store.system.find(folder)
        except FileNotFoundError as error:
            raise OvocrError(f"{self.name}: {describe_error(error)}") from error
        found = FolderFiles()
        for path in paths:
            if not path.endswith("/"):
                found.add(path[len(folder) + 1 :])
        found.sort()
        return found

    def read_images(self, names: tuple[str, ...]) -> Iterator[SourceItem]:
        """Fetches several images in parallel, ahead of the reader."""
        return in_parallel(self._fetch, names)

    def _fetch(self, name: str) -> SourceItem:
        key = as_text(name)
        return _fetch(self._store.system, f"{self._store.path}/{name}", f"{self.name}/{key}", key)

    def fetch_image(self, key: str) -> SourceItem:
        """Returns the image in this object. Raises OvocrError if the store fails."""
        return _fetch(self._store.system, self._store.path, self.name, key)


def _fetch(system: Any, path: str, name: str, key: str) -> SourceItem:
    """Fetches an object of a file system of fsspec. name: what messages show."""
    try:
        with store_errors(name):
            size = int(system.info(path)["size"])
            if size > MAX_FILE_BYTES:
                return too_large(key, size)
            return Found(key, system.cat_file(path))
    except FileNotFoundError:
        return Lost(key, Reason.UNREADABLE, "No such file or directory")
