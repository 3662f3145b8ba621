"""Suite `gp_problems`: is the formula itself found? Genetic programming on b1 to b8.

The problems are those of G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks",
arXiv 2012.06921v2: 300 rows drawn uniformly, no noise, and 300 fresh rows to judge by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, number, status_note
from benchmarks.suites import Suite
from datamodules.tables.problems import problem, suite

METHODS = ("ours", "ours:powers", "pyoperon", "gplearn")
EXACT_NRMSE = 1e-6
PROBLEMS = {name: problem(name) for name in suite("gmeql")}


def run(cell: Cell) -> dict[str, Any]:
    """Search on the training rows, judge on fresh ones.

    The same rows serve to search and to choose: without noise, and with 300 rows, nothing is gained by a split.
    """
    from benchmarks.peers import Data, fit
    from expressions.equivalence import recovered

    posed = PROBLEMS[cell.problem]
    rng = np.random.default_rng([cell.seed, int(cell.problem[1:])])
    inputs, target = posed.sample(posed.train_rows, rng)
    test_inputs, test_target = posed.sample(posed.test_rows, rng)
    fitted = fit(cell.method, Data(inputs, target, inputs, target), cell.settings, cell.seed)
    found = fitted.chosen
    with np.errstate(all="ignore"):
        error = np.sqrt(np.mean((found.predict(test_inputs) - test_target) ** 2)) / np.std(test_target)
    return {
        "nrmse": float(error) if np.isfinite(error) else 1e30,
        "recovered": bool(recovered(found.expression, posed.truth)),
        "complexity": found.complexity,
        "infix": found.expression.infix(posed.variables),
        "wall_seconds": fitted.wall_seconds,
        "cpu_seconds": fitted.cpu_seconds,
    }


def report(records: Sequence[Record]) -> Report:
    """Exact and recovered runs of every problem and method, and how many problems each method solves."""
    methods = list(dict.fromkeys(record.cell.method for record in records))
    rows = []
    solved = dict.fromkeys(methods, 0)
    by_problem = group(records, lambda record: record.cell.problem)
    for name, found in by_problem.items():
        row = [name]
        by_method = group(found, lambda record: record.cell.method)
        for method in methods:
            cells = by_method.get(method, [])
            exact = sum(record.result["nrmse"] < EXACT_NRMSE for record in good(cells))
            solved[method] += 2 * exact > len(cells)
            row += _columns(cells, exact)
        rows.append([*row, f"{100 * (PROBLEMS[name].published_success or 0.0):.0f} %"])
    total = [f"solved in most runs, of {len(by_problem)}"]
    for method in methods:
        total += [str(solved[method]), "", ""]
    headings = [f"{method} {what}".strip() for method in methods for what in ("", "NRMSE", "s")]
    title = "The formula itself, b1 to b8: runs that are exact (recovered)"
    return Report([Grid(title, ["problem", *headings, "published"], [*rows, [*total, ""]])], _notes(records))


def _columns(cells: Sequence[Record], exact: int) -> list[str]:
    done = good(cells)
    recovered = sum(record.result["recovered"] for record in done)
    return [
        status_note(cells) or f"{exact} ({recovered}) of {len(cells)}",
        number(median(record.result["nrmse"] for record in done), 2),
        decimals(median(record.result["cpu_seconds"] for record in done), 1),
    ]


def _notes(records: Sequence[Record]) -> list[str]:
    settings: Settings = records[0].cell.settings if records else {}
    return [
        f"exact: NRMSE below {EXACT_NRMSE:g} on 300 fresh rows, in float64; recovered: truth and equation "
        "differ by a constant term or factor once constants are rounded to 3 decimals (SRBench). A failed run "
        "counts as not found. NRMSE and seconds (of CPU, until the method stopped by itself) are medians over the "
        "seeds.",
        f"Operators {settings.get('operators')}, as far as a method has them: the problems' own family; "
        "ours:powers adds cubes to sixth powers, of which the Gumbel-max networks are built.",
        f"Budget {settings.get('seconds')} CPU-seconds a run. published: share of 20 runs, 3 to 4 hours each, "
        "of the Gumbel-max equation learner (arXiv 2012.06921v2). pyoperon computes in float32, which bounds "
        "how exact its constants can be.",
        *failures(records),
    ]


SUITE = Suite(
    name="gp_problems",
    summary="exact recovery of b1 to b8 by genetic programming",
    methods=METHODS,
    seeds=(1, 2, 3),
    settings={
        "seconds": 10.0,
        "operators": "add,sub,mul,div,square,sqrt,sin,cos",
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
    },
    problems=lambda settings: list(PROBLEMS),
    estimate=lambda cell: float(cell.settings["seconds"]) + 4.0,
    run=run,
    report=report,
)
