"""The number of processor cores that this process may use. A container may have fewer than the machine."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = CGROUP) -> int:
    """Returns the smaller of CPU affinity and the cgroup's CPU quota (version 2, then 1), in cores; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(cgroup)
    return max(1, cores if quota is None else min(cores, math.floor(quota)))


def _cgroup_quota(cgroup: Path) -> float | None:
    """Returns the CPU quota in cores, or None. Format: the kernel's cgroup-v2.rst, sched-bwc.rst."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota == "max" or float(quota) <= 0:
        return None
    return float(quota) / float(period)
