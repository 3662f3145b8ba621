"""What this machine has: cores that this process may use, and memory. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["cores", "memory"]

_LIMIT = Path("/sys/fs/cgroup/memory.max")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Bytes of memory that this process may use; infinity where nobody says."""
    found = float("inf")
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):  # of a container; "max" where it has none
        found = min(found, float(_LIMIT.read_text()))
    return found
