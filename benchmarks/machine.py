"""What a timing depends on: one thread, one core, and which machine. Imports no NumPy, whose threads it sets."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_PACKAGES = ("numpy", "torch", "deap", "pyoperon", "gplearn", "rils-rols")


def use_one_thread() -> None:
    """Make every numerical library of this process and its children use one thread.

    Works only before the libraries are imported.
    """
    for name in _THREADS:
        os.environ[name] = "1"


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(core: int) -> None:
    """Keep this process on one core, where the operating system can."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # a container may forbid it: the timing is noisier, not wrong
            os.sched_setaffinity(0, {core})


def cpu_model() -> str:
    """Name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def instruction_set() -> str:
    """The widest vector instructions that decide how fast NumPy's kernels are; empty where it is not known."""
    with contextlib.suppress(OSError):
        flags = set(Path("/proc/cpuinfo").read_text().split())
        for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")):
            if flag in flags:
                return name
    return ""


def describe() -> str:
    """One line: processor, Python and the packages that a comparison depends on."""
    versions = []
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    vector = f" ({instruction_set()})" if instruction_set() else ""
    return f"{cpu_model()}{vector}, Python {platform.python_version()}, {', '.join(versions)}"
