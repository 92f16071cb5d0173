"""How many processor cores this process may use: a container's share is not the machine's."""

from __future__ import annotations

import math
import os
from pathlib import Path

# Of the container: quota and period in microseconds (Linux, admin-guide/cgroup-v2.rst, cpu.max).
_CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = _CGROUP) -> int:
    """Those the process may run on, and no more than its control group's quota pays for; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def core_limit(cgroup: Path = _CGROUP) -> int:
    """`cores` if that is fewer than the machine has, else 0: libraries then choose by themselves."""
    found = cores(cgroup)
    return found if found < (os.cpu_count() or 1) else 0


def _quota(cgroup: Path) -> float | None:
    """Cores' worth of time; None where nothing is said or all may be used."""
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
