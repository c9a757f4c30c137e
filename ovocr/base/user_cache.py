"""The folder in which what was made once is kept for the user's next run."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """A folder of the user's own, which need not be there yet (XDG Base Directory); None where there is no home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ovocr"
    except RuntimeError:
        return None
