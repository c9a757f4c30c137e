"""Reads files of a folder in an object store, and tries again if the store fails for a while."""

import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ovocr.base.errors import OvocrError
from ovocr.base.object_store import StoreLocation, connect, describe_error, store_errors

Result = TypeVar("Result")

# Pauses between attempts. In each of them, the store's client has tried several times for about ten seconds.
_PAUSES_S = (1.0, 4.0, 16.0)
_REPORT_EVERY_S = 60.0
# Limit of an attempt to read, after which a store that keeps a connection open but sends nothing counts as failed.
_ATTEMPT_S = 60.0


class StoreFolder:
    """A folder in an object store. Can be pickled, and used before and after a fork: each process connects itself.

    url: URL of the folder.
    failed_attempts: number of attempts that failed in this process.

    Every method raises OvocrError, naming the URL, if the store fails after several attempts or refuses access, and
    FileNotFoundError if a file does not exist.
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

            limit = {"timeout": _ATTEMPT_S} if store.system.async_impl else {}  # the others have no such argument
            try:
                data: bytes = store.system.cat_file(f"{store.path}/{name}", start=start, end=end, **limit)
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

    def download(self, name: str, path: Path) -> None:
        """Copies a file to a disk."""
        self._try(name, lambda store: store.system.get_file(f"{store.path}/{name}", str(path)))

    def versions(self, name: str = "") -> dict[str, str]:
        """Lists the files in this folder or in one below it, not deeper; maps names to what identifies the content."""

        def find(store: StoreLocation) -> dict[str, str]:
            found = store.system.ls(f"{store.path}/{name}".rstrip("/"), detail=True)
            files = [entry for entry in found if entry["type"] == "file"]
            return {entry["name"].rpartition("/")[2]: _version(entry) for entry in files}

        return self._try(name, find)

    def sizes(self, name: str = "") -> dict[str, int]:
        """Lists the same files as ``versions``, and maps their names to their sizes in bytes."""

        def find(store: StoreLocation) -> dict[str, int]:
            found = store.system.ls(f"{store.path}/{name}".rstrip("/"), detail=True)
            return {entry["name"].rpartition("/")[2]: entry["size"] for entry in found if entry["type"] == "file"}

        return self._try(name, find)

    def _try(self, name: str, action: Callable[[StoreLocation], Result]) -> Result:
        url, start = f"{self.url}/{name}" if name else self.url, time.monotonic()
        connection = self._connect()  # raises UsageError if the packages for the store are not installed
        for attempt, pause in enumerate((*_PAUSES_S, None), 1):
            try:
                with store_errors(url):
                    return action(connection)
            except OvocrError as error:
                self.failed_attempts += 1
                if error.__cause__ is None or isinstance(error.__cause__, PermissionError):
                    raise
                reason = describe_error(error.__cause__)
                if pause is None:
                    seconds = time.monotonic() - start
                    raise OvocrError(f"{url}: {reason} ({attempt} attempts in {seconds:.0f} s)") from error.__cause__
            if time.monotonic() - self._last_report >= _REPORT_EVERY_S:
                print(f"ovocr: {url}: {reason}; trying again", file=sys.stderr, flush=True)
                self._last_report = time.monotonic()
            time.sleep(pause * random.uniform(0.5, 1.5))  # processes that failed together must not return together
        raise AssertionError("unreachable")

    def _connect(self) -> StoreLocation:
        if self._connection is None or self._connection[0] != os.getpid():
            self._connection = os.getpid(), connect(self.url)
        return self._connection[1]


def _version(entry: dict[str, Any]) -> str:
    """Returns what identifies the content of a file: the store's own identifier, else its size and time of change."""
    identifier = next((entry[name] for name in ("ETag", "etag", "md5Hash", "content_md5") if entry.get(name)), None)
    changed = next((entry[name] for name in ("LastModified", "last_modified", "mtime") if entry.get(name)), None)
    return f"{entry.get('size')} {identifier or changed}"
