"""Reads files of a folder in an object store, and tries again if the store fails for a while."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ovocr.base.attempts import ask, repeat
from ovocr.base.errors import OvocrError
from ovocr.base.object_store import StoreLocation, connect
from ovocr.base.parallel_reads import in_parallel

Result = TypeVar("Result")

# Files over this size are fetched in blocks, each of which is tried again by itself.
_BLOCK_BYTES = 32 * 2**20
_BLOCKS_AT_ONCE = 4
_SMALL_AT_ONCE = 64
_FULL = (errno.ENOSPC, errno.EDQUOT)


class StoreFolder:
    """A folder in an object store. Can be pickled, and used before and after a fork: each process connects itself.

    url: URL of the folder, or of a file, whose name is then "".
    failed_attempts: number of attempts that failed in this process.

    Every method raises StoreError, naming the URL, if the store fails after several attempts or refuses access,
    FileNotFoundError if a file does not exist, and UsageError if the packages for the store are not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.failed_attempts = 0
        self._connection: tuple[int, StoreLocation] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreFolder, (self.url,)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Returns the bytes [start, end) of a file, or all of it."""

        def fetch(store: StoreLocation) -> bytes:
            length = end - start if start is not None and end is not None else None
            data: bytes = ask(store, "cat_file", _path(store, name), start=start, end=end, size=length or 0)
            if length not in (None, len(data)):
                raise OSError(f"sent {len(data):,} bytes of {length:,}")
            return data

        return self._try(name, fetch)

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Returns the content of files, fetched concurrently, by name."""
        return dict(zip(names, in_parallel(self.read, names, at_once=_SMALL_AT_ONCE), strict=True))

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the bytes [start, end) of a file for each range, fetched concurrently."""
        return list(in_parallel(lambda span: self.read(name, *span), ranges, at_once=_SMALL_AT_ONCE))

    def size(self, name: str) -> int:
        """Returns the size of a file in bytes."""
        return self._try(name, lambda store: int(ask(store, "info", _path(store, name))["size"]))

    def download(self, name: str, path: Path) -> None:
        """Copies a file to a disk. Raises OvocrError if the disk is full."""
        size = self.size(name)
        try:
            with open(path, "wb") as file:
                for block in self._blocks(name, size):
                    file.write(block)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise OvocrError(
                f"{self._url(name)}: does not fit into {path.parent}: {error.strerror}; set TMPDIR to a "
                "folder with more space"
            ) from error

    def _blocks(self, name: str, size: int) -> Iterator[bytes]:
        starts = range(0, size, _BLOCK_BYTES)
        return in_parallel(
            lambda start: self.read(name, start, min(start + _BLOCK_BYTES, size)), starts, at_once=_BLOCKS_AT_ONCE
        )

    def versions(self, name: str = "") -> dict[str, str]:
        """Lists the files in this folder or in one below it, not deeper; maps names to what identifies the content."""

        def find(store: StoreLocation) -> dict[str, str]:
            files = (entry for entry in _list(store, name) if entry["type"] == "file")
            return {entry["name"].rpartition("/")[2]: _version(entry) for entry in files}

        return self._try(name, find)

    def sizes(self, name: str = "") -> dict[str, int]:
        """Lists the same files as ``versions``, and maps their names to their sizes in bytes."""

        def find(store: StoreLocation) -> dict[str, int]:
            files = (entry for entry in _list(store, name) if entry["type"] == "file")
            return {entry["name"].rpartition("/")[2]: entry["size"] for entry in files}

        return self._try(name, find)

    def names(self, name: str = "") -> set[str]:
        """Returns the names of files and folders in this folder or in one below it, not deeper."""

        def find(store: StoreLocation) -> set[str]:
            return {entry["name"].rstrip("/").rpartition("/")[2] for entry in _list(store, name)}

        return self._try(name, find)

    def _try(self, name: str, action: Callable[[StoreLocation], Result]) -> Result:
        connection = self._connect()  # raises UsageError if the packages for the store are not installed
        return repeat(self._url(name), lambda: action(connection), self._count_failure)

    def _url(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def _count_failure(self) -> None:
        self.failed_attempts += 1

    def _connect(self) -> StoreLocation:
        if self._connection is None or self._connection[0] != os.getpid():
            self._connection = os.getpid(), connect(self.url)
        return self._connection[1]


def read_url(url: str) -> bytes:
    """Returns the content of a file. Raises as the methods of ``StoreFolder`` do."""
    return StoreFolder(url).read("")


def _path(store: StoreLocation, name: str) -> str:
    return f"{store.path}/{name}" if name else store.path


def _list(store: StoreLocation, name: str) -> list[dict[str, Any]]:
    """Returns the entries of a folder, without the empty object that some programs make for the folder itself."""
    folder = _path(store, name).rstrip("/")
    found: list[dict[str, Any]] = ask(store, "ls", folder, detail=True)
    return [entry for entry in found if entry["name"].rstrip("/") != folder]


def _version(entry: dict[str, Any]) -> str:
    """Returns what identifies the content of a file: the store's own identifier, else its size and time of change."""
    identifier = next((entry[name] for name in ("ETag", "etag", "md5Hash", "content_md5") if entry.get(name)), None)
    changed = next((entry[name] for name in ("LastModified", "last_modified", "mtime") if entry.get(name)), None)
    return f"{entry.get('size')} {identifier or changed}"
