"""Reads files of a folder in an object store, and tries again if the store fails for a while."""

import errno
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ovocr.base.errors import OvocrError, StoreError
from ovocr.base.object_store import StoreLocation, connect, describe_error, store_errors

Result = TypeVar("Result")

# Pauses between attempts. In each of them, the store's client has tried several times for about ten seconds.
_PAUSES_S = (1.0, 4.0, 16.0)
_REPORT_EVERY_S = 60.0
# Limit of an attempt to read, after which a store that keeps a connection open but sends nothing counts as failed.
_ATTEMPT_S = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class StoreFolder:
    """A folder in an object store. Can be pickled, and used before and after a fork: each process connects itself.

    url: URL of the folder.
    failed_attempts: number of attempts that failed in this process.

    Every method raises StoreError, naming the URL, if the store fails after several attempts or refuses access,
    FileNotFoundError if a file does not exist, and UsageError if the packages for the store are not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.failed_attempts = 0
        self._connection: tuple[int, StoreLocation] | None = None
        self._last_report = -_REPORT_EVERY_S

    def __reduce__(self) -> tuple[Any, ...]:
        return StoreFolder, (self.url,)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Returns the bytes [start, end) of a file, or all of it."""

        def fetch(store: StoreLocation) -> bytes:
            from fsspec.exceptions import FSTimeoutError

            path = f"{store.path}/{name}" if name else store.path
            limit = {"timeout": _ATTEMPT_S} if store.system.async_impl else {}  # the others have no such argument
            try:
                data: bytes = store.system.cat_file(path, start=start, end=end, **limit)
            except FSTimeoutError as error:
                raise OSError(f"no answer within {_ATTEMPT_S:g} s") from error
            if start is not None and end is not None and len(data) != end - start:
                raise OSError(f"sent {len(data):,} bytes of {end - start:,}")
            return data

        return self._try(name, fetch)

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Returns the content of files, fetched concurrently, by name."""

        def fetch(store: StoreLocation) -> dict[str, bytes]:
            paths = {f"{store.path}/{name}": name for name in names}
            contents = store.system.cat(list(paths)) if paths else {}
            return {paths[path]: content for path, content in contents.items()}

        return self._try("", fetch)

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the bytes [start, end) of a file for each range, fetched concurrently."""

        def fetch(store: StoreLocation) -> list[bytes]:
            starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
            paths = [f"{store.path}/{name}"] * len(ranges)
            parts: list[bytes] = store.system.cat_ranges(paths, starts, ends, on_error="raise")
            if sum(map(len, parts)) != sum(ends) - sum(starts):
                raise OSError(f"sent {sum(map(len, parts)):,} bytes of {sum(ends) - sum(starts):,}")
            return parts

        return self._try(name, fetch) if ranges else []

    def size(self, name: str) -> int:
        """Returns the size of a file in bytes."""
        return self._try(name, lambda store: int(store.system.info(f"{store.path}/{name}")["size"]))

    def download(self, name: str, path: Path) -> None:
        """Copies a file to a disk. Raises OvocrError if the disk is full."""

        def fetch(store: StoreLocation) -> None:
            try:
                store.system.get_file(f"{store.path}/{name}", str(path))
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                raise OvocrError(
                    f"{self.url}/{name}: does not fit into {path.parent}: {error.strerror}; set TMPDIR to a "
                    "folder with more space"
                ) from error

        self._try(name, fetch)

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
        url, start = f"{self.url}/{name}" if name else self.url, time.monotonic()
        connection = self._connect()  # raises UsageError if the packages for the store are not installed
        for attempt, pause in enumerate((*_PAUSES_S, None), 1):
            try:
                with store_errors(url):
                    return action(connection)
            except StoreError as error:
                self.failed_attempts += 1
                cause = error.__cause__
                if cause is None or isinstance(cause, PermissionError):
                    raise
                reason = describe_error(cause)
                if pause is None:
                    seconds = time.monotonic() - start
                    raise StoreError(f"{url}: {reason} ({attempt} attempts in {seconds:.0f} s)") from cause
            if time.monotonic() - self._last_report >= _REPORT_EVERY_S:
                print(f"ovocr: {url}: {reason}; trying again", file=sys.stderr, flush=True)
                self._last_report = time.monotonic()
            time.sleep(pause * random.uniform(0.5, 1.5))  # processes that failed together must not return together
        raise AssertionError("unreachable")

    def _connect(self) -> StoreLocation:
        if self._connection is None or self._connection[0] != os.getpid():
            self._connection = os.getpid(), connect(self.url)
        return self._connection[1]


def read_url(url: str) -> bytes:
    """Returns the content of a file. Raises as the methods of ``StoreFolder`` do."""
    return StoreFolder(url).read("")


def _list(store: StoreLocation, name: str) -> list[dict[str, Any]]:
    """Returns the entries of a folder, without the empty object that some programs make for the folder itself."""
    folder = f"{store.path}/{name}".rstrip("/")
    found: list[dict[str, Any]] = store.system.ls(folder, detail=True)
    return [entry for entry in found if entry["name"].rstrip("/") != folder]


def _version(entry: dict[str, Any]) -> str:
    """Returns what identifies the content of a file: the store's own identifier, else its size and time of change."""
    identifier = next((entry[name] for name in ("ETag", "etag", "md5Hash", "content_md5") if entry.get(name)), None)
    changed = next((entry[name] for name in ("LastModified", "last_modified", "mtime") if entry.get(name)), None)
    return f"{entry.get('size')} {identifier or changed}"
