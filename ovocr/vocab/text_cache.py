"""Texts that are made from installed word lists once and kept in the user's cache folder."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ovocr.base.files import written_by_any
from ovocr.base.user_cache import cache_folder


def read_or_make(name: str, sha256: str, make: Callable[[], str]) -> str:
    """Returns the text cached under ``name``; if it is not cached, calls ``make`` and caches the result.

    sha256: hex digest of the text's UTF-8 bytes. A cached file with a different digest is replaced. A cache folder that
    cannot be written is not an error: the text is made again next time.
    """
    folder = cache_folder()
    path = None if folder is None else folder / f"{name}-{sha256[:16]}.txt"
    text = None if path is None else _read(path, sha256)
    if text is None:
        text = make()
        if path is not None:
            _write(path, text)
    return text


def _read(path: Path, sha256: str) -> str | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data.decode("utf-8") if hashlib.sha256(data).hexdigest() == sha256 else None


def _write(path: Path, text: str) -> None:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_by_any(path) as file:  # processes that start together must not write to one file
            file.write(text.encode())
