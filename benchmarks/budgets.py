"""Suite `budgets`: whether every search ends in its time, and how much memory it takes, from 8 to 1,000,000 rows.

A cell calls a search as a script would, on one core, and takes the time of the whole call: the check of the
table, the choice of rows, the last fit and the scores on all rows are a part of it. A budget of S seconds is kept
where the call has returned after 1.1 S + 1.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.own_searches import Search, prepare
from benchmarks.report import Grid, Report, decimals, failures, good, group, status_note
from benchmarks.suites import Suite

METHODS = ("regression", "genetic_programming", "structures", "map", "auto", "explain")
PROBLEMS = ("8x20", "1000x20", "100000x20", "1000000x20", "1000x500", "100000x500")
_GIBIBYTE = 1024.0**2


def run(cell: Cell) -> dict[str, Any]:
    """Time one call."""
    prepare(cell.method)
    inputs, target = _table(cell.problem)
    before = _peak()
    search = Search((inputs, target), None, float(cell.settings["seconds"]), cell.seed)
    begun, worked = time.perf_counter(), time.process_time()
    result = search.run(cell.method)
    return {
        "seconds": time.perf_counter() - begun,
        "worked": time.process_time() - worked,
        "before": before,
        "peak": _peak(),
        "front": len(result.front),
        "stopped": result.stopped,
    }


def allowed(seconds: float) -> float:
    """Seconds within which a call with a budget must have returned."""
    return 1.1 * seconds + 1.0


def _table(problem: str) -> tuple[np.ndarray, np.ndarray]:
    """A noisy law, which no search ends before its time."""
    rows, columns = map(int, problem.split("x"))
    rng = np.random.default_rng([rows, columns])
    inputs = rng.uniform(0.5, 3.0, (rows, columns))
    return inputs, inputs[:, 0] ** 1.5 * np.exp(-inputs[:, -1]) + 0.05 * rng.normal(size=rows)


def _peak() -> float:
    """Largest memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _GIBIBYTE


def report(records: Sequence[Record]) -> Report:
    """One row a search and table."""
    rows = []
    for (method, problem), found in group(records, lambda r: (r.cell.method, r.cell.problem)).items():
        done = good(found)
        budget = float(found[0].cell.settings["seconds"])
        longest = max((r.result["seconds"] for r in done), default=float("nan"))
        rows.append(
            [
                method,
                problem,
                status_note(found) or str(len(found)),
                decimals(longest, 2),
                "yes" if longest <= allowed(budget) else "NO",
                decimals(longest / budget, 2),
                decimals(max((r.result["worked"] for r in done), default=float("nan")), 2),
                decimals(max((r.result["peak"] for r in done), default=float("nan")), 2),
                decimals(max((r.result["before"] for r in done), default=float("nan")), 2),
            ]
        )
    headings = ["search", "rows x columns", "n", "seconds", "kept", "of budget", "CPU-s", "peak GiB", "before"]
    notes = [
        "seconds: the longest call by the clock; kept: within 1.1 times the budget and one second; CPU-s: work of "
        "that process; peak: memory of the process, before: of the same with its table, before the call.",
        *failures(records),
    ]
    return Report([Grid("Budgets of time and memory", headings, rows)], notes)


_SETTINGS: Settings = {"seconds": 10.0}

SUITE = Suite(
    name="budgets",
    summary="whether every search ends in its time, and how much memory it takes, up to 1,000,000 rows",
    methods=METHODS,
    seeds=(1,),
    settings=_SETTINGS,
    problems=lambda settings: list(PROBLEMS),
    estimate=lambda cell: float(cell.settings["seconds"]) + 5.0,
    run=run,
    report=report,
)
