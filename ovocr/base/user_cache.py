"""The user's cache folder of ovocr."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """Returns the folder (XDG Base Directory), which may not exist yet, or None without a home folder."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ovocr"
    except RuntimeError:
        return None
