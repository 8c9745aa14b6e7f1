"""What this machine can give a computation: cores and memory, as the operating system limits them."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_CGROUP_V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_MEMORY = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
# limit, what is used of it, and how much of that can be dropped; version 2, then version 1
_CGROUP_MEMORY = (
    (Path("/sys/fs/cgroup"), ("memory.max", "memory.current")),
    (Path("/sys/fs/cgroup/memory"), ("memory.limit_in_bytes", "memory.usage_in_bytes")),
)


def usable_cores() -> int:
    """Return how many cores this process may keep busy: affinity and cgroup quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, math.ceil(quota))) if quota else max(1, cores)


def available_memory_bytes() -> int:
    """Return the memory a new process could use without swapping, in bytes, also as a container limits it."""
    available = _kernel_available()
    if available is None:
        import psutil  # takes longer to load than all of this

        available = int(psutil.virtual_memory().available)
    left = _cgroup_memory_left()
    return available if left is None else min(available, left)


def busy_cores(seconds: float) -> float:
    """Return how many cores are busy with anything, this process among it, in the `seconds` to come."""
    import psutil

    return float(psutil.cpu_percent(interval=seconds)) / 100 * (os.cpu_count() or 1)


def peak_memory_bytes() -> int:
    """Return the most memory this process has had resident so far, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    peak = _peak_since_start()
    if peak is not None:
        return peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_since_start() -> int | None:
    """Return what Linux says of this program's peak, in bytes; None elsewhere.

    `getrusage` counts what was resident before the process became this program: its parent's memory.
    """
    try:
        for line in _STATUS.read_text("ascii", "replace").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.removesuffix("kB")) * 1024
    except (OSError, ValueError):
        return None
    return None


def _cgroup_quota() -> float | None:
    """Return the container's CPU limit in cores, or None when there is none."""
    try:
        if _CGROUP_V2.exists():
            quota, period = _CGROUP_V2.read_text().split()
        else:
            quota, period = _CGROUP_V1.read_text(), _CGROUP_V1_PERIOD.read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no cgroup, or "max": no limit
        return None


def _kernel_available() -> int | None:
    """Return what Linux says is available, in bytes; None elsewhere."""
    try:
        for line in _MEMORY.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.removesuffix("kB")) * 1024
    except (OSError, ValueError):
        return None
    return None


def _cgroup_memory_left() -> int | None:
    """Return what a container leaves of its memory in bytes, its file cache counted; None without a limit."""
    for place, names in _CGROUP_MEMORY:
        try:
            limit, used = (int((place / name).read_text()) for name in names)
            cached = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
            return max(0, limit - used + int(cached.get("inactive_file", 0)))
        except (OSError, ValueError):  # no cgroup, or "max": no limit
            continue
    return None
