"""How much memory a process holds, and may hold: inside a container less than the machine has."""

import os
import resource
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
STATM = Path("/proc/self/statm")


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes: the machine's memory, or the cgroup's limit (version 2, then 1), whichever is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup_limit(cgroup)
    return machine if limit is None else min(machine, limit)


def _cgroup_limit(cgroup: Path) -> int | None:
    """Bytes, None where there is no limit. Format: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() else None
    return None


def resident_memory(statm: Path = STATM) -> int:
    """Bytes of memory that this process holds now; the most that it ever held where the system does not tell.

    Format: proc(5), whose second number is the resident pages; getrusage(2), in kilobytes but on macOS.
    """
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
