"""Sources in an object store. Requests are slow: files are read ahead, images of a folder are fetched in parallel."""

import glob
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import as_text
from ovocr.base.object_store import connect, describe_error, store_errors
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

# A file is read in blocks of this size, in the background and ahead of the reader.
_BLOCK_BYTES = 8 * 2**20
_BLOCKS_CACHED = 4
# A request takes tens of milliseconds, even for few bytes.
_PARALLEL_REQUESTS = 16


class StorePath(SourcePath):
    """A file or a folder in an object store. Raises UsageError for an unknown scheme, or MissingExtraError."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._store = connect(url)

    def expand(self) -> list[str]:
        """Matches a glob against the objects of the store."""
        if not glob.has_magic(self.name):
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

    def list_images(self) -> tuple[list[str], int]:
        """Lists the folder in as few requests as the store allows."""
        folder = self._store.path
        try:
            with self._store.errors():
                paths: list[str] = self._store.system.find(folder)
        except FileNotFoundError as error:
            raise OvocrError(f"{self.name}: {describe_error(error)}") from error
        names = [path[len(folder) + 1 :] for path in paths if not path.endswith("/")]
        images = [name for name in names if is_image_name(name)]
        return images, len(names) - len(images)

    def read_images(self, names: tuple[str, ...]) -> Iterator[SourceItem]:
        """Fetches several images in parallel, ahead of the reader."""
        waiting: deque[Future[SourceItem]] = deque()
        executor = ThreadPoolExecutor(_PARALLEL_REQUESTS, thread_name_prefix="ovocr-fetch")
        try:
            for name in names:
                waiting.append(executor.submit(self._fetch, name))
                if len(waiting) == _PARALLEL_REQUESTS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, name: str) -> SourceItem:
        key = as_text(name)
        path = f"{self._store.path}/{name}"
        try:
            with store_errors(f"{self.name}/{key}"):
                size = int(self._store.system.info(path)["size"])
                if size > MAX_FILE_BYTES:
                    return too_large(key, size)
                return Found(key, self._store.system.cat_file(path))
        except FileNotFoundError:
            return Lost(key, Reason.UNREADABLE, "No such file or directory")
