"""The operator table with one more row, in a process of its own: what a contributor gets who appends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_END = ")  # fmt: skip\n\nCONSTANT = 0"


def run_with_row(row: str, script: str, folder: Path, *arguments: str) -> str:
    """Output of a script that is run with a copy of `expressions/`, in whose table one row is appended.

    Args:
        row: Python source of the row, as it would stand in the table.
        script: Python source to run.
        folder: empty folder for the copy.
        arguments: `sys.argv[1:]` of the script.
    """
    shutil.copytree(ROOT / "expressions", folder / "expressions", ignore=shutil.ignore_patterns("__pycache__"))
    table = folder / "expressions" / "operators.py"
    source = table.read_text(encoding="utf-8")
    assert source.count(_END) == 1
    table.write_text(source.replace(_END, f"    {row},\n{_END}"), encoding="utf-8")
    path = os.pathsep.join((str(folder), str(ROOT)))
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
