"""Suite `generated`: is the formula found, and after how long? Problems that nobody tuned to, without noise.

200 formulas of 2 to 6 variables and up to 20 tokens, drawn by `benchmarks.generated_problems`, and `sample44`, a
fixed random choice of the Feynman and Strogatz problems, that of the suite `srbench`. 300 rows to search on, 300
fresh ones to judge by (of a Strogatz problem, the 100 that are left).

Each method runs once for every budget of 1, 3, 10 and 30 seconds up to `seconds`: what is scored is the equation
that a person would have got with that budget, the last rounding included. Exact: a normalised squared error below
1e-12 on the fresh rows, in float64. pyoperon computes in float32, so a second column counts the formulas that are
exact once their constants are fitted again in float64, those of every method alike. Once a run is exact, or has
ended by itself with nothing left to try, longer budgets are not run but count as it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.generated_problems import generated_problems, name_of
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.srbench import SAMPLE, sample
from benchmarks.suites import Suite
from datamodules.tables.problems import Problem, Simulation, problem
from expressions.expression import Expression

METHODS = ("auto", "regression", "genetic_programming", "structures", "map", "pyoperon", "gplearn", "rils_rols")
BUDGETS = (1.0, 3.0, 10.0, 30.0)
EXACT_NMSE = 1e-12
ACCURATE = 0.999
_TRAIN_ROWS, _TEST_ROWS = 300, 300
_FIT_STEPS = 20  # of constants that a method left in float32
_UNDEFINED = 1e30  # error of an equation that is not finite on a fresh row, which JSON holds
_COUNT = 200


def run(cell: Cell) -> dict[str, Any]:
    """One run a budget, each judged on the fresh rows."""
    from benchmarks.peers import Data, fit

    posed = _problem(cell)
    rows = rows_of(posed, cell.seed)
    inputs, target, test_inputs, test_target = rows
    data = Data(inputs, target, inputs, target)
    found: dict[str, dict[str, Any]] = {}
    last: dict[str, Any] | None = None
    for budget in budgets(cell.settings):
        if last is None or not (last["exact"] or last["stopped"] == "done"):
            fitted = fit(cell.method, data, {**cell.settings, "seconds": budget}, cell.seed)
            error = _error(fitted.chosen.predict, test_inputs, test_target)
            last = {
                "nmse": error,
                "exact": error < EXACT_NMSE,
                "refitted": error < EXACT_NMSE or _refitted_error(fitted.chosen.expression, *rows) < EXACT_NMSE,
                "size": fitted.chosen.complexity,
                "infix": fitted.chosen.expression.infix(),
                "first_seconds": fitted.first_seconds,
                "wall_seconds": fitted.wall_seconds,
                "cpu_seconds": fitted.cpu_seconds,
                "stopped": fitted.stopped,
            }
        found[f"{budget:g}"] = last
    return {
        "budgets": found,
        "formula": posed.formula,
        "true_size": _size(posed),
        "variables": len(posed.variables),
    }


def budgets(settings: Settings) -> list[float]:
    """Budgets of the runs, in seconds: those of `BUDGETS` that are below the longest, and the longest."""
    longest = float(settings["seconds"])
    return [*(budget for budget in BUDGETS if budget < longest), longest]


def rows_of(posed: Problem, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and target to search on, then those to judge by."""
    rng = np.random.default_rng([seed, 44])
    test_rows = 100 if isinstance(posed.source, Simulation) else _TEST_ROWS
    inputs, target = posed.sample(_TRAIN_ROWS + test_rows, rng)
    return inputs[:_TRAIN_ROWS], target[:_TRAIN_ROWS], inputs[_TRAIN_ROWS:], target[_TRAIN_ROWS:]


def _problem(cell: Cell) -> Problem:
    if cell.problem in sample():
        return problem(cell.problem)
    count, seed = int(cell.settings["count"]), int(cell.settings["problem_seed"])
    return generated_problems(count, seed, Path(cell.out) / "generated")[cell.problem]


def _error(predict: Any, inputs: np.ndarray, target: np.ndarray) -> float:
    from expressions.goodness_of_fit import nmse

    with np.errstate(all="ignore"):
        error = nmse(target, np.broadcast_to(predict(inputs), target.shape))
    return min(error, _UNDEFINED)


def _refitted_error(
    found: Expression, inputs: np.ndarray, target: np.ndarray, test_inputs: np.ndarray, test_target: np.ndarray
) -> float:
    """Error on the fresh rows after the constants were fitted in float64."""
    from expressions.constant_fitting import fit_constants

    [fitted] = fit_constants([found], inputs, target, iterations=_FIT_STEPS).expressions
    return _error(fitted, test_inputs, test_target)


def _size(posed: Problem) -> int:
    from expressions.complexity import complexity

    return complexity(posed.truth)


def report(records: Sequence[Record]) -> Report:
    """One row a method and budget, a table for each of the two sets of problems."""
    grids, notes = [], []
    for name, of_set in group(records, _set_of).items():
        rows = [row for found in group(of_set, lambda r: r.cell.method).values() for row in _rows(found)]
        grids.append(Grid(f"Formulas found, {name}", ["method, budget", *_HEADINGS], rows))
        sizes = {record.cell.problem: record.result["true_size"] for record in good(of_set)}
        notes.append(f"{name}: the true formulas have {decimals(median(sizes.values()), 0)} nodes in the median.")
    return Report(
        grids or [Grid("Formulas found", ["method, budget", *_HEADINGS], [])],
        [*_NOTES, *notes, *failures(records)],
    )


_HEADINGS = ["n", "exact", "exact, refitted", "R2 > .999", "nodes", "first formula, s", "s if exact", "CPU s"]
_NOTES = (
    "exact: normalised squared error below 1e-12 on fresh rows, in float64 (NRMSE below 1e-6); refitted: the same "
    "after a fit of the constants in float64, since pyoperon works in float32; a failed run is "
    "neither exact nor accurate. nodes, of the SymPy tree as SRBench counts, and seconds are medians; first "
    "formula is by the clock. Noise 0, 300 rows, one core each; a budget is by the clock; CPU s is what was used.",
)


def _set_of(record: Record) -> str:
    return f"sample{SAMPLE}" if record.cell.problem in sample() else "generated"


def _rows(found: Sequence[Record]) -> Iterator[list[str]]:
    """The rows of one method."""
    method = found[0].cell.method
    done = good(found)
    if not done:
        yield [method, str(len(found)), status_note(found), *["-"] * 6]
        return
    for budget in sorted(done[0].result["budgets"], key=float):
        runs = [record.result["budgets"][budget] for record in done]
        exact = [run for run in runs if run["exact"]]
        first = [run["first_seconds"] for run in runs if run["first_seconds"] is not None]
        yield [
            f"{method}, {budget} s",
            str(len(found)),
            _share(len(exact), len(found)),
            _share(sum(run["refitted"] for run in runs), len(found)),
            _share(sum(1.0 - run["nmse"] > ACCURATE for run in runs), len(found)),
            decimals(median(run["size"] for run in runs), 1),
            decimals(median(first), 2),
            decimals(median(run["cpu_seconds"] for run in exact), 1),
            decimals(median(run["cpu_seconds"] for run in runs), 1),
        ]


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "-"


def _words(word: str) -> Sequence[str]:
    """`sample44`; `first60`, the first 60 generated problems, or any other number of them; or a problem."""
    if word == f"sample{SAMPLE}":
        return sample()
    number = word.removeprefix("first")
    if word.startswith("first") and number.isdigit():
        return [name_of(k) for k in range(int(number))]
    return [word]


def _names(settings: Settings) -> list[str]:
    return [*(name_of(number) for number in range(int(settings["count"]))), *sample()]


SUITE = Suite(
    name="generated",
    summary="formulas that nobody tuned to: which are found exactly within 1, 3, 10 and 30 seconds",
    methods=METHODS,
    seeds=(1,),
    settings={
        "seconds": 30.0,
        "count": _COUNT,
        "problem_seed": 7,
        "weights": "pretrained",
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
    },
    problems=_names,
    estimate=lambda cell: 8.0 + sum(budget + 2.0 for budget in budgets(cell.settings)),
    run=run,
    report=report,
    defaults=METHODS[:6],
    default_problems=tuple(_words(f"first{_COUNT}")),
    expand=_words,
)
