"""Suite `coverage`: do 95 % intervals of constants hold the true constants in 95 % of cases?

Laws whose structure and constants are known: held-out skeletons of 1 to 3 variables of the generator that the map
is trained by, most of them with one more constant at a variable and a factor in front, many with an offset. A law
is taken when 1,000 rows with 1 % noise determine all of its constants. A cell draws one table of every law, of as
many rows and as much noise as its name says; the constants are fitted to it, starting from the true ones, and each
has its interval.

`interval` is what the project shows; `equal` always takes errors for alike, `sandwich` never does; `bootstrap` is
the parametric one, on some of the laws.

`equal` errors have one variance on all rows; `growing` errors have a standard deviation in proportion to the
target's distance from its smallest value, from a fifth of the mean one on; `known` errors do the same, and the
intervals are told the standard deviations.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.suites import Suite
from datamodules.tables.problems import Problem, ProblemError, Uniform
from expressions.constant_fitting import fit_constants
from expressions.constant_intervals import ConstantIntervals, constant_intervals
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, TOKEN
from expressions.parsing import parse
from foundation.files import replace_file

METHODS = ("interval", "equal", "sandwich", "bootstrap")
_UNEQUAL = {"interval": None, "equal": False, "sandwich": True, "bootstrap": None}
ROWS, NOISE, ERRORS = (20, 100, 1_000), (1, 5, 20), ("equal", "growing", "known")
_NOMINAL = 0.95
_INNER, _FACTOR, _OFFSET = 0.7, 0.8, 0.4  # shares of laws with a constant at a variable, in front, and behind
_LONGEST = 12  # tokens of a skeleton
_MOST_CONSTANTS = 5
_SPARE = 3.0  # problems that are drawn for each law that is wanted
_DRAWN = 1_000  # rows that determine a law's constants
_LOOSEST = 0.5  # standard error of a constant over itself, on rows that determine it
_STEPS = 30  # of a fit
_FRESH = 200  # rows to look at bands on
_LEAST_SPREAD = 0.2  # of growing errors, as a part of their mean


# --- tables whose law is known ---


def laws(count: int, seed: int, folder: Path) -> list[Problem]:
    """Laws with one to five constants, all of which 1,000 rows with 1 % noise determine.

    Args:
        count: number of laws.
        seed: random seed for structures, constants and ranges.
        folder: directory that keeps the laws once they are drawn.
    """
    path = folder / f"laws-{count}-seed{seed}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps([_plain(law) for law in _draw(count, seed)], indent=0).encode())
    return [_law(*stored) for stored in json.loads(path.read_text(encoding="utf-8"))]


def _plain(law: Problem) -> list[Any]:
    assert isinstance(law.source, Uniform)
    return [law.truth.infix(), law.source.low, law.source.high]


def _law(text: str, low: Sequence[float], high: Sequence[float]) -> Problem:
    variables = tuple(f"x{column}" for column in range(len(low)))
    source = Uniform(tuple(low), tuple(high))
    return Problem("law", ("coverage",), text, variables, "y", parse(text), source, _DRAWN, _DRAWN)


def _draw(count: int, seed: int) -> list[Problem]:
    from datamodules.settings.streams import PoolSettings
    from datamodules.streams.heldout import heldout_problems

    rng = np.random.default_rng([seed, 1])
    drawn = heldout_problems(
        round(_SPARE * count) + 20, PoolSettings(variables=3, longest=_LONGEST), seed, shortest=3, longest=_LONGEST
    )
    dressed = (replace(problem, truth=_dressed(problem.truth, rng)) for problem in drawn)
    return list(islice((law for law in dressed if _is_bounded(law, seed)), count))


def _dressed(truth: Expression, rng: np.random.Generator) -> Expression:
    """A law with a constant at one of its variables, a factor in front, an offset behind, or some of these."""
    inner, factor, offset = (
        float(f"{size:.3g}") for size in np.exp(rng.uniform(math.log(0.1), math.log(10.0), 3))
    )
    tokens, constants = truth.tokens, truth.constants.tolist()
    if rng.random() < _INNER:
        place = int(rng.choice(np.flatnonzero(tokens >= FIRST_VARIABLE)))
        operator = TOKEN[str(rng.choice(["mul", "add"]))]
        tokens = np.concatenate([tokens[:place], [operator, CONSTANT], tokens[place:]])
        constants.insert(int(np.count_nonzero(truth.tokens[:place] == CONSTANT)), inner)
    text = Expression(tokens, constants).infix()
    if rng.random() < _FACTOR:
        text = f"{factor}*({text})"
    if rng.random() < _OFFSET:
        text = f"{text} + {offset}"
    return parse(text)


def _is_bounded(law: Problem, seed: int) -> bool:
    if not 0 < len(law.truth.constants) <= _MOST_CONSTANTS:
        return False
    try:
        inputs, target, _ = table_of(law, _DRAWN, 1, "equal", np.random.default_rng([seed, 2]))
    except ProblemError:  # it is not defined on enough rows
        return False
    found = constant_intervals(law.truth, inputs, target)
    widest = np.max(np.sqrt(np.diag(found.covariance)) / np.abs(law.truth.constants))
    return bool(np.isfinite(found.ends).all() and widest < _LOOSEST)


def table_of(
    law: Problem, rows: int, noise: int, errors: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A table of a law.

    Args:
        law: law to draw rows of.
        rows: number of rows.
        noise: standard deviation of the errors, in percent of the target's.
        errors: one of `ERRORS`.
        rng: source of rows and errors.

    Returns:
        Inputs, measured target, and standard deviation of each row's error. `[rows, variables]`, twice `[rows]`
    """
    inputs, target = law.sample(rows, rng)
    spread = np.full(rows, 0.01 * noise * float(np.std(target)))
    if errors != "equal":
        height = target - target.min()
        growing = np.maximum(height / height.mean(), _LEAST_SPREAD)
        spread *= growing / math.sqrt(np.mean(growing**2))
    return inputs, target + spread * rng.normal(size=rows), spread


# --- measuring ---


def run(cell: Cell) -> dict[str, Any]:
    """Intervals of all laws of the cell."""
    rows, noise, errors = _parts(cell.problem)
    every = 1 if cell.method != "bootstrap" else int(cell.settings["bootstrap_every"])
    started = time.process_time()
    tables = []
    for number, law in enumerate(
        laws(int(cell.settings["laws"]), int(cell.settings["law_seed"]), Path(cell.out) / "coverage")
    ):
        if number % every == 0:
            rng = np.random.default_rng([cell.seed, number, rows, noise, ERRORS.index(errors)])
            tables.append(_measured(cell, law, table_of(law, rows, noise, errors, rng), errors, rng))
    return {"tables": tables, "cpu_seconds": time.process_time() - started}


def _measured(
    cell: Cell,
    law: Problem,
    table: tuple[np.ndarray, np.ndarray, np.ndarray],
    errors: str,
    rng: np.random.Generator,
) -> dict[str, Any]:
    inputs, target, spread = table
    weights = spread**-2.0 if errors == "known" else None
    measure = partial(constant_intervals, inputs=inputs, target=target, weights=weights)
    found = measure(law.truth, known_errors=errors == "known", unequal=_UNEQUAL[cell.method])
    [fitted] = fit_constants([law.truth], inputs, target, iterations=_STEPS, weights=weights).expressions
    ends = found.ends
    half = found.quantile * np.sqrt(np.diag(found.covariance))
    parabola = np.abs(law.truth.constants - found.constants) <= half
    if cell.method == "bootstrap":
        ends = _bootstrap(fitted, inputs, target, spread, errors, int(cell.settings["resamples"]), rng)
    truth = law.truth.constants
    return {
        "law": law.truth.infix(),
        "held": ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).tolist(),
        "parabola": parabola.tolist() if cell.method == "interval" else [],
        "below": (truth < ends[:, 0]).tolist(),
        "bounded": np.isfinite(ends).all(axis=1).tolist(),
        "ratio": _ratios(found.ends, ends) if cell.method == "bootstrap" else [],
        "band": _band(found, fitted, law, spread[0], rng)
        if (cell.method, errors) == ("interval", "equal")
        else [],
    }


def _bootstrap(
    fitted: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    spread: np.ndarray,
    errors: str,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Percentiles of constants fitted to the equation's own values plus errors drawn anew. `[constants, 2]`

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.5 (parametric bootstrap).
    """
    values = fitted(inputs)
    freedom = max(len(target) - len(fitted.constants), 1)
    if errors == "equal":
        spread = np.full(len(target), math.sqrt(float(np.sum((target - values) ** 2)) / freedom))
    weights = spread**-2.0 if errors == "known" else None
    drawn = [
        fit_constants(
            [fitted], inputs, values + spread * rng.normal(size=len(target)), iterations=_STEPS, weights=weights
        ).expressions[0].constants
        for _ in range(resamples)
    ]  # fmt: skip
    tail = 50.0 * (1.0 - _NOMINAL)
    return np.percentile(drawn, [tail, 100.0 - tail], axis=0).T


def _ratios(ends: np.ndarray, others: np.ndarray) -> list[float]:
    with np.errstate(all="ignore"):
        ratios = np.ptp(ends, axis=1) / np.ptp(others, axis=1)
    return np.where(np.isfinite(ratios), ratios, math.inf).tolist()


def _band(
    found: ConstantIntervals, fitted: Expression, law: Problem, noise: float, rng: np.random.Generator
) -> list[float]:
    """Shares of fresh rows whose true value, and whose new measurement, lie in their band."""
    inputs, truth = law.sample(_FRESH, rng)
    away, error = truth - fitted(inputs), noise * rng.normal(size=_FRESH)
    return [
        float(np.mean(np.abs(away) <= found.curve(fitted, inputs))),
        float(np.mean(np.abs(away + error) <= found.measurement(fitted, inputs))),
    ]


# --- the table ---


def report(records: Sequence[Record]) -> Report:
    """One row for every method, kind of errors, number of rows, and noise; and over all noise."""
    rows = []
    for (method, errors), found in group(records, lambda r: (r.cell.method, _parts(r.cell.problem)[2])).items():
        by_rows = group(found, lambda record: _parts(record.cell.problem)[0])
        for number, some in by_rows.items():
            cells = group(some, lambda record: _parts(record.cell.problem)[1])
            for noise, one in cells.items():
                rows.append([f"{method}, {errors}", str(number), f"{noise} %", *_figures(one)])
            if len(cells) > 1:
                rows.append([f"{method}, {errors}", str(number), "all", *_figures(some)])
    headings = [
        "method, errors", "rows", "noise", "constants", "held", "parabola", "truth below", "truth above",
        "unbounded", "width", "curve", "measurement", "CPU-ms",
    ]  # fmt: skip
    notes = [
        f"Held: share of intervals of {100 * _NOMINAL:.0f} % that hold the true constant; parabola: the same with "
        "no profile followed. Unbounded: with no end on some side. Width: median width over the bootstrap's. "
        "Curve, measurement: share of fresh rows whose true value, or new measurement, lies in its band. CPU-ms: "
        "of a table, its fit included.",
        *failures(records),
    ]
    return Report([Grid("Coverage of intervals", headings, rows)], notes)


def _figures(records: Sequence[Record]) -> list[str]:
    done = good(records)
    tables = [table for record in done for table in record.result["tables"]]
    held = [each for table in tables for each in table["held"]]
    parabola = [each for table in tables for each in table["parabola"]]
    below = [each for table in tables for each in table["below"]]
    bounded = [each for table in tables for each in table["bounded"]]
    bands = [table["band"] for table in tables if table["band"]]
    above = 1.0 - _mean(held) - _mean(below)
    milliseconds = 1e3 * sum(record.result["cpu_seconds"] for record in done) / max(len(tables), 1)
    return [
        status_note(records) or f"{len(held):,}",
        *(_percent(share) for share in (_mean(held), _mean(parabola), _mean(below), above, 1.0 - _mean(bounded))),
        decimals(median(ratio for table in tables for ratio in table["ratio"]), 2),
        *(_percent(_mean([band[kind] for band in bands])) for kind in range(2)),
        decimals(milliseconds, 1),
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share + 0.0:.1f} %"


def _parts(problem: str) -> tuple[int, int, str]:
    """Rows, percent of noise, and kind of errors of a problem's name."""
    rows, noise, errors = problem.split("_")
    return int(rows.removeprefix("rows")), int(noise.removeprefix("noise")), errors


def _name(rows: int, noise: int, errors: str) -> str:
    return f"rows{rows}_noise{noise}_{errors}"


def _words(word: str) -> Sequence[str]:
    """All problems of one kind of errors, or a problem."""
    return [_name(rows, noise, word) for rows in ROWS for noise in NOISE] if word in ERRORS else [word]


SUITE = Suite(
    name="coverage",
    summary="do 95 % intervals of constants hold the true constants in 95 % of cases?",
    methods=METHODS,
    seeds=(1,),
    settings={"laws": 400, "law_seed": 5, "bootstrap_every": 8, "resamples": 200},
    problems=lambda settings: [
        _name(rows, noise, errors) for errors in ERRORS for rows in ROWS for noise in NOISE
    ],
    estimate=lambda cell: 20.0 + float(cell.settings["laws"]) * (0.2 if cell.method == "bootstrap" else 0.02),
    run=run,
    report=report,
    default_problems=tuple(_words("equal")),
    expand=_words,
)
