"""Access to object stores and other remote file systems by URL, such as s3://bucket/folder/file, through fsspec."""

import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from ovocr.base import s3_client
from ovocr.base.errors import MissingExtraError, StoreError, UsageError
from ovocr.base.request_count import count_connection

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# Errors that are not subclasses of OSError, by module. Modules that are not imported yet cannot have raised one.
_FOREIGN_ERRORS = (
    ("botocore.exceptions", ("BotoCoreError", "ClientError")),
    ("aiohttp", ("ClientError",)),
    ("asyncio", ("TimeoutError",)),
)

# A forked process must not free the connections of its parent: that closes them in another event loop, and fails.
_connected: dict[int, Any] = {}


@dataclass(frozen=True)
class StoreLocation:
    """A file or folder in an object store. path: its path in the fsspec file system, without a trailing slash."""

    url: str
    system: Any
    path: str

    def errors(self) -> AbstractContextManager[None]:
        """Converts errors of the store inside the block; see store_errors."""
        return store_errors(self.url)


def is_url(name: str) -> bool:
    """Returns True if the name begins with a scheme, such as s3://."""
    return _SCHEME.match(name) is not None


def connect(url: str) -> StoreLocation:
    """Opens the object store of a URL.

    Sends no request. Raises UsageError if the scheme is unknown, MissingExtraError if the packages for it are not
    installed, and StoreError if its settings are wrong.
    """
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(f"{url}: {scheme}://", "s3") from error
    try:
        options = s3_client.connection_options() if s3_client.is_s3(scheme) else {}
        # A cached listing would hide what other processes write.
        system, path = url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        if s3_client.is_s3(scheme):
            raise MissingExtraError(f"{url}: {scheme}://", "s3") from error
        raise UsageError(f"{url}: {error}") from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    if s3_client.is_s3(scheme):
        with store_errors(url):
            s3_client.prepare(system)
    _connected[id(system)] = system
    count_connection()
    return StoreLocation(url, system, path.rstrip("/"))


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Converts errors of the store inside the block to a StoreError of one line that names ``url``.

    FileNotFoundError and FileExistsError are not converted: callers handle them.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except _errors() as error:
        raise StoreError(f"{url}: {describe_error(error)}") from error


def describe_error(error: BaseException) -> str:
    """Returns the error as one line, even if it has no text or only a path as text."""
    text = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileNotFoundError) and " " not in text:
        return "no such file"
    return " ".join(text.split()) or type(error).__name__


def _errors() -> tuple[type[BaseException], ...]:
    foreign = (
        getattr(sys.modules[module], name)
        for module, names in _FOREIGN_ERRORS
        if module in sys.modules
        for name in names
    )
    return (OSError, *foreign)
