"""Texts that are made once from installed word lists and kept in the user's cache folder for the next time."""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ovocr.base.user_cache import cache_folder


def read_kept(name: str, sha256: str) -> str | None:
    """The text that ``keep`` left under this name; None where there is none with this sha256 of its bytes."""
    path = _path(name, sha256)
    try:
        data = path.read_bytes() if path is not None else b""
    except OSError:
        return None
    return data.decode("utf-8") if hashlib.sha256(data).hexdigest() == sha256 else None


def keep(name: str, sha256: str, text: str) -> None:
    """Leave a text for the next time; where that cannot be, the next time takes as long as this one."""
    path = _path(name, sha256)
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under a name of its own: processes that start together must not write to one file.
        descriptor, partial_name = tempfile.mkstemp(dir=path.parent)
        os.close(descriptor)
        partial = Path(partial_name)
        try:
            partial.write_text(text, encoding="utf-8", newline="\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _path(name: str, sha256: str) -> Path | None:
    """A file of the user's own, named by what it must hold; None where the user has no home."""
    folder = cache_folder()
    return None if folder is None else folder / f"{name}-{sha256[:16]}.txt"
