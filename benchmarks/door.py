"""Suite `door`: how long a person waits for `discover.py`, and whether a budget of seconds is kept.

A cell starts the command as a person would, on all cores, and looks at its output: when the first formula is
shown, when the process has ended, and how much memory it took. Run it on an idle machine, with `--jobs 1`.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.suites import Suite
from foundation.files import writing

ROOT = Path(__file__).resolve().parents[1]
BUDGETS = (2, 10, 60)
METHODS = ("help", "import", "estimator", *(f"seconds_{budget}" for budget in BUDGETS))
PROBLEMS = ("8_rows", "500_rows", "1000000_rows")
COLUMNS = {"8_rows": 1, "500_rows": 5, "1000000_rows": 20}
_STATEMENTS = {"import": "import rediscover", "estimator": "from rediscover import SymbolicRegressor"}
_SHOWN = re.compile(r"^ *[0-9.]+ s  error ")
_MEBIBYTE = 1024


def run(cell: Cell) -> dict[str, Any]:
    """Start the command, and watch it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # a person has all cores
    if cell.method == "help":
        words = ["discover.py", "--help"]
    elif cell.method in _STATEMENTS:
        words = ["-c", _STATEMENTS[cell.method]]
    else:
        table = _table(cell)
        budget = cell.method.removeprefix("seconds_")
        out = str(table.with_suffix(f".{budget}.{cell.seed}"))
        words = ["discover.py", str(table), "y", "--seconds", budget, "--out", out]
    return _watched(words)


def _watched(words: Sequence[str]) -> dict[str, Any]:
    begun = time.perf_counter()
    first: float | None = None
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if first is None and _SHOWN.match(line):
                first = time.perf_counter() - begun
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise RuntimeError(f"the command ended with exit code {process.returncode}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / _MEBIBYTE
    return {"first_seconds": first, "seconds": seconds, "peak_mebibytes": peak}


def _table(cell: Cell) -> Path:
    """A table of a noisy law, which no search ends before its time."""
    rows, columns = int(cell.problem.split("_")[0]), COLUMNS[cell.problem]
    path = Path(cell.out) / "door" / f"{cell.problem}.csv"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(rows)
    inputs = rng.uniform(0.5, 3.0, (rows, columns))
    target = inputs[:, 0] ** 1.5 * np.exp(-inputs[:, -1]) + 0.05 * rng.normal(size=rows)
    names = ",".join([*(f"x{k}" for k in range(columns)), "y"])
    with writing(path) as file:
        file.write(f"{names}\n".encode())
        for start in range(0, rows, 100_000):
            block = slice(start, start + 100_000)
            np.savetxt(file, np.column_stack([inputs[block], target[block]]), fmt="%.9g", delimiter=",")
    return path


def report(records: Sequence[Record]) -> Report:
    """One row a command and table."""
    rows = []
    for (method, problem), found in group(records, lambda r: (r.cell.method, r.cell.problem)).items():
        done = good(found)
        rows.append(
            [
                method,
                problem if method.startswith("seconds") else "-",
                status_note(found) or str(len(found)),
                decimals(median(r.result["first_seconds"] for r in done if r.result["first_seconds"]), 2),
                decimals(median(r.result["seconds"] for r in done), 2),
                decimals(max((r.result["seconds"] for r in done), default=float("nan")), 2),
                decimals(max((r.result["peak_mebibytes"] for r in done), default=float("nan")), 0),
            ]
        )
    headings = ["command", "table", "n", "first formula, s", "seconds", "longest", "peak MiB"]
    notes = [
        "help: discover.py --help. import: import rediscover. estimator: from rediscover import "
        "SymbolicRegressor. seconds_N: discover.py TABLE y --seconds N, by the clock from the start of the "
        "process to its end, on all cores. Seconds are medians; peak is that of the largest process.",
        *failures(records),
    ]
    return Report([Grid("How long a person waits", headings, rows)], notes)


def _estimate(cell: Cell) -> float:
    return float(cell.method.removeprefix("seconds_")) if cell.method.startswith("seconds") else 3.0


_SETTINGS: Settings = {}

SUITE = Suite(
    name="door",
    summary="how long a person waits for discover.py, and whether budgets are kept",
    methods=METHODS,
    seeds=(1,),
    settings=_SETTINGS,
    problems=lambda settings: list(PROBLEMS),
    estimate=_estimate,
    run=run,
    report=report,
)
