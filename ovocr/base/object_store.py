"""Files in object stores and other places that fsspec reaches, named by URL: s3://bucket/folder/file."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# Errors of these modules are not OSErrors; they are asked for only where the store has loaded them.
_FOREIGN_ERRORS = (
    ("botocore.exceptions", ("BotoCoreError", "ClientError")),
    ("aiohttp", ("ClientError",)),
    ("asyncio", ("TimeoutError",)),
)


def is_url(name: str) -> bool:
    """Does the name begin with a scheme, such as s3://?"""
    return _SCHEME.match(name) is not None


def connect(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it, without a slash at its end.

    Raises UsageError for a scheme that is not known, MissingExtraError where its packages are not installed.
    """
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(f"{url}: {scheme}://", "s3") from error
    try:
        # A listing that is kept would not show what other processes write.
        system, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        if scheme in ("s3", "s3a"):
            raise MissingExtraError(f"{url}: {scheme}://", "s3") from error
        raise UsageError(f"{url}: {error}") from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    return system, path.rstrip("/")


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """What the store raises in the block becomes an OvocrError of one line that names ``url``.

    FileNotFoundError and FileExistsError pass: they are answers.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except _errors() as error:
        raise OvocrError(f"{url}: {describe_error(error)}") from error


def describe_error(error: BaseException) -> str:
    """One line: of a store's errors some have no text, others only a path."""
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
