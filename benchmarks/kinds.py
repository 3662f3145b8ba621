"""Suite `kinds`: kinds of laws that linear algebra finds outright, each with 200 problems that a generator draws.

`direct` is `searches.direct` alone, without sums by regression after it; `regression` is the search that begins
with it, `auto` all searches together. 300 rows without noise, and 300 fresh ones to judge by. Exact: a normalised
squared error below 1e-12 on the fresh rows, in float64.

A cell is a block of ten problems of a kind, one after the other in one process, so that importing costs little:
`--problems rationals` is all of a kind, `--problems rationals/3` its third block. Another kind is a file in
`benchmarks/kind_problems/` and a line in its registry.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.kind_problems.posing import ROWS
from benchmarks.kind_problems.registry import KIND_PROBLEMS
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.suites import Suite
from datamodules.tables.problems import Problem
from expressions.expression import Expression

METHODS = ("direct", "regression", "auto", "pyoperon", "gplearn")
EXACT_NMSE = 1e-12
_COUNT, _BLOCK = 200, 10  # problems of a kind, and of a cell
_UNDEFINED = 1e30  # error of an equation that is not finite on a fresh row, which JSON holds


def run(cell: Cell) -> dict[str, Any]:
    """The problems of a block, one after the other."""
    kind, _, block = cell.problem.partition("/")
    first = (int(block) - 1) * _BLOCK
    answers = [
        _answer(cell, KIND_PROBLEMS[kind](number, int(cell.settings["problem_seed"])))
        for number in range(first, first + _BLOCK)
    ]
    return {"kind": kind, "problems": answers}


def _answer(cell: Cell, posed: Problem) -> dict[str, Any]:
    from expressions.complexity import complexity
    from expressions.goodness_of_fit import nmse

    inputs, target = posed.sample(2 * ROWS, np.random.default_rng([cell.seed, 24]))
    equation, cpu_seconds = _found(cell, inputs[:ROWS], target[:ROWS])
    with np.errstate(all="ignore"):
        error = min(nmse(target[ROWS:], equation(inputs[ROWS:])), _UNDEFINED)
    return {
        "name": posed.name,
        "formula": posed.formula,
        "infix": equation.infix(),
        "nmse": error,
        "exact": error < EXACT_NMSE,
        "size": complexity(equation),
        "true_size": complexity(posed.truth),
        "cpu_seconds": cpu_seconds,
    }


def _found(cell: Cell, inputs: np.ndarray, target: np.ndarray) -> tuple[Expression, float]:
    """The equation that a method presents, and its CPU-seconds without imports."""
    if cell.method == "direct":
        return _directly_found(inputs, target)
    from benchmarks.peers import Data, fit

    fitted = fit(cell.method, Data(inputs, target, inputs, target), cell.settings, cell.seed)
    return fitted.chosen.expression, fitted.cpu_seconds


def _directly_found(inputs: np.ndarray, target: np.ndarray) -> tuple[Expression, float]:
    """The best equation of `searches.direct`, the shorter of two as good; the mean where there is none."""
    from searches.direct.first_equations import direct_equations
    from searches.evolution.settings import DEFAULT_OPERATORS
    from searches.links.stepwise import EXACT

    begun = time.process_time()
    found = direct_equations(inputs, target, DEFAULT_OPERATORS)
    cpu_seconds = time.process_time() - begun
    mean = Expression.constant(float(target.mean()))
    return min(found, key=lambda one: (max(found[one], EXACT), len(one)), default=mean), cpu_seconds


def report(records: Sequence[Record]) -> Report:
    """A table for each kind, a row a method."""
    grids = []
    for kind, of_kind in group(records, lambda record: record.cell.problem.partition("/")[0]).items():
        rows = [_row(found) for found in group(of_kind, lambda record: record.cell.method).values()]
        grids.append(Grid(f"Laws found, {kind}", ["method", *_HEADINGS], rows))
    return Report(grids or [Grid("Laws found", ["method", *_HEADINGS], [])], [_NOTE, *failures(records)])


_HEADINGS = ["n", "exact", "R2 > .999", "nodes", "nodes of the truth", "CPU s", "CPU s, 95 %", "CPU s if exact"]
_NOTE = (
    "exact: normalised squared error below 1e-12 on fresh rows, in float64; those of a failed cell are not. "
    "nodes, of the SymPy tree as SRBench counts, and CPU s are medians, one core each, imports left out; "
    "nodes are those of exact equations. Noise 0, 300 rows."
)


def _row(found: Sequence[Record]) -> list[str]:
    answers = list(_answers(found))
    count = _BLOCK * len(found)
    if not answers:
        return [found[0].cell.method, str(count), status_note(found), *["-"] * 6]
    exact = [answer for answer in answers if answer["exact"]]
    seconds = [answer["cpu_seconds"] for answer in answers]
    return [
        found[0].cell.method,
        str(count),
        f"{100 * len(exact) / count:.1f} %",
        f"{100 * sum(answer['nmse'] < 1e-3 for answer in answers) / count:.1f} %",
        decimals(median(answer["size"] for answer in exact), 1),
        decimals(median(answer["true_size"] for answer in answers), 1),
        decimals(median(seconds), 3),
        decimals(float(np.quantile(seconds, 0.95)), 3),
        decimals(median(answer["cpu_seconds"] for answer in exact), 3),
    ]


def _answers(found: Sequence[Record]) -> Iterator[dict[str, Any]]:
    for record in good(found):
        yield from record.result["problems"]


def _words(word: str) -> Sequence[str]:
    """All blocks of a kind, or the one."""
    return [f"{word}/{block + 1}" for block in range(_COUNT // _BLOCK)] if word in KIND_PROBLEMS else [word]


def _names(settings: Settings) -> list[str]:
    return [block for kind in KIND_PROBLEMS for block in _words(kind)]


def _estimate(cell: Cell) -> float:
    return 6.0 + _BLOCK * (0.5 if cell.method == "direct" else float(cell.settings["seconds"]) + 1.0)


SUITE = Suite(
    name="kinds",
    summary="kinds of laws that linear algebra finds outright: which are found, and in how many CPU-seconds",
    methods=METHODS,
    seeds=(1,),
    settings={
        "seconds": 10.0,
        "problem_seed": 24,
        "weights": "pretrained",
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
    },
    problems=_names,
    estimate=_estimate,
    run=run,
    report=report,
    defaults=METHODS[:3],
    expand=_words,
)
