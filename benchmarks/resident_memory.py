"""Resident memory of another process."""

import os
from pathlib import Path


def resident(pid: int) -> int:
    """Returns bytes of resident memory (proc(5), statm); 0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
