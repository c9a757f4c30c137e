"""Sources in an object store. Requests are slow: files are read ahead, images of a folder are fetched in parallel."""

import glob
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from ovocr.base.attempts import ask, repeat
from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import as_text
from ovocr.base.object_store import StoreLocation, connect, describe_error
from ovocr.base.parallel_reads import in_parallel
from ovocr.base.store_folder import StoreFolder
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.folder_files import FolderFiles
from ovocr.labelgen.sources.items import MAX_FILE_BYTES, Found, Lost, SourceItem, too_large
from ovocr.labelgen.sources.source_path import FileState, SourcePath

# A file is read in blocks of this size, in the background and ahead of the reader.
_BLOCK_BYTES = 8 * 2**20
_BLOCKS_CACHED = 4
_BUFFER_BYTES = 2**18


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
        paths = self._ask("glob")
        return [str(self._store.system.unstrip_protocol(path)) for path in paths]

    def is_folder(self) -> bool:
        """Raises UsageError if the object does not exist."""
        try:
            return bool(self._ask("info")["type"] == "directory")
        except FileNotFoundError as error:
            raise UsageError(f"{self.name}: {describe_error(error)}") from error

    def state(self) -> FileState:
        """Returns the state; its version is the store's own identifier of the content."""
        size = int(self._ask("info")["size"])
        return FileState(size, str(repeat(self.name, lambda: self._store.system.ukey(self._store.path))))

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        with io.BufferedReader(_StoredFile(self._store), _BUFFER_BYTES) as file:
            yield cast(IO[bytes], file)

    def read_start(self, size: int) -> bytes:
        """Fetches only these bytes."""
        data: bytes = self._ask("cat_file", start=0, end=size)
        return data

    def _ask(self, method: str, **options: Any) -> Any:
        return repeat(self.name, lambda: ask(self._store, method, self._store.path, **options))

    @contextmanager
    def on_disk(self, *siblings: str) -> Iterator[Path]:
        """Copies the objects to a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="ovocr-source-", ignore_cleanup_errors=True) as folder:
            copy, *_ = [path._download(Path(folder)) for path in (self, *map(self.sibling, siblings))]
            yield copy

    def _download(self, folder: Path) -> Path:
        copy = folder / self._store.path.rpartition("/")[2]
        try:
            StoreFolder(self.name).download("", copy)
        except FileNotFoundError as error:
            raise OvocrError(f"{self.name}: cannot be read: {describe_error(error)}") from error
        return copy

    def list_files(self) -> FolderFiles:
        """Lists the folder in as few requests as the store allows."""
        folder = self._store.path
        try:
            paths: list[str] = self._ask("find")
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
        return _fetch(self._store, f"{self._store.path}/{name}", f"{self.name}/{key}", key)

    def fetch_image(self, key: str) -> SourceItem:
        """Returns the image in this object. Raises OvocrError if the store fails."""
        return _fetch(self._store, self._store.path, self.name, key)


def _fetch(store: StoreLocation, path: str, name: str, key: str) -> SourceItem:
    """Fetches an object. name: what messages show."""

    def fetch() -> SourceItem:
        size = int(ask(store, "info", path)["size"])
        return too_large(key, size) if size > MAX_FILE_BYTES else Found(key, ask(store, "cat_file", path, size=size))

    try:
        return repeat(name, fetch)
    except FileNotFoundError:
        return Lost(key, Reason.UNREADABLE, "No such file or directory")


class _StoredFile(io.RawIOBase):
    """An object that is read from front to back, in blocks that are fetched ahead. Reading goes on after a failure.

    Raises StoreError, which is no OSError: readers of archives take that for damage. Raises FileNotFoundError.
    """

    def __init__(self, store: StoreLocation) -> None:
        self._store = store
        self._position = 0
        self._opened: Any = None
        self._size = int(repeat(store.url, lambda: self._file().size))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._position))
        data: bytes = repeat(self._store.url, lambda: self._read(wanted)) if wanted else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._close_opened()
        super().close()

    def _read(self, size: int) -> bytes:
        try:
            file = self._file()
            file.seek(self._position)
            data: bytes = file.read(size)
            if len(data) != size:
                raise OSError(f"sent {len(data):,} bytes of {size:,}")
            return data
        except BaseException:
            self._close_opened()  # a file of fsspec that has failed once does not recover
            raise

    def _file(self) -> Any:
        if self._opened is None:
            cache = {"cache_type": "background", "cache_options": {"maxblocks": _BLOCKS_CACHED}}
            self._opened = self._store.system.open(self._store.path, "rb", block_size=_BLOCK_BYTES, **cache)
        return self._opened

    def _close_opened(self) -> None:
        file, self._opened = self._opened, None
        if file is not None:
            with suppress(OSError):  # of a file that has failed
                file.close()
