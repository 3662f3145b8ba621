"""Runs the tests as other processors would: `python tests/processors.py [pytest arguments]`.

NumPy, OpenBLAS, PyTorch, MKL and oneDNN choose their kernels by the instructions that the processor has, and the
last bits of a sum depend on the kernel. No test may depend on them. Each setting starts pytest in a process of its
own; the exit status is 0 where all of them pass. Only x86 processors have settings besides their own.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def numpy_features(keep: tuple[str, ...]) -> str:
    """Names of the instruction sets that NumPy may choose here, but for those to `keep`, divided by spaces."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__[name] and name not in keep)


def settings() -> dict[str, dict[str, str]]:
    """Environment variables of each setting, by its name."""
    found: dict[str, dict[str, str]] = {"this processor": {}}
    if platform.machine().lower() in ("x86_64", "amd64"):
        found["AVX2 (2013)"] = {
            "OPENBLAS_CORETYPE": "Haswell",
            "NPY_DISABLE_CPU_FEATURES": numpy_features(keep=("X86_V3", "AVX", "F16C", "FMA3", "AVX2")),
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
        }
        found["SSE4.2 (2008)"] = {
            "OPENBLAS_CORETYPE": "Nehalem",
            "NPY_DISABLE_CPU_FEATURES": numpy_features(keep=()),
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
        }
    return found


def main(arguments: list[str]) -> int:
    """Run pytest with `arguments` under every setting, print a line for each, and return the exit status."""
    lines, failed = [], False
    for name, variables in settings().items():
        print(f"== {name}", *(f"{key}={value!r}" for key, value in variables.items()), flush=True)
        began = time.monotonic()
        ended = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=os.environ | variables)
        failed |= ended.returncode != 0
        verdict = "passed" if ended.returncode == 0 else f"failed (pytest's exit status {ended.returncode})"
        lines.append(f"{name:16} {time.monotonic() - began:6.0f} s  {verdict}")
    print("", *lines, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
