"""The memory that this process uses and may use. A container may have less than the machine."""

import os
import resource
import sys
from pathlib import Path

from ovocr.processes.cores import CGROUP

STATM = Path("/proc/self/statm")


def available_memory(cgroup: Path = CGROUP) -> int:
    """Returns the smaller of the machine's memory and the cgroup's limit (version 2, then 1), in bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _cgroup_limit(cgroup)
    return machine if limit is None else min(machine, limit)


def _cgroup_limit(cgroup: Path) -> int | None:
    """Returns the limit in bytes, or None. Format: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() else None
    return None


def resident_memory(statm: Path = STATM) -> int:
    """Returns the bytes that this process uses now, or its peak if the system has no /proc.

    Format: proc(5), where the second number is the resident pages; getrusage(2), in kilobytes except on macOS.
    """
    try:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
