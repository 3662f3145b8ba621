"""Suite `blackbox`: tables of measurements without a known law; how well does an equation predict unseen rows?

Every seed is another random split, 75 % of the rows to search on and 25 % to judge by. Our own searches hold out a
quarter of the training rows to choose by; the peers get all training rows and choose by a rule of their own. R2 on
the unseen rows is unclipped. A failed run counts as an R2 of minus infinity.

Methods: `auto` is what a person calls, `rediscover.fitting.explain`, and the next four are searches of it alone;
`linear`, `kernel_ridge`, `hist_gradient_boosting` and `gradient_boosting` are regressions; `pyoperon`, `gplearn`
and `rils_rols` are peers. `pyoperon:mdl` lets pyoperon choose by its default, the description length: that gives
better and smaller equations here than `pyoperon`, the lowest error on the training rows, and is in the default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.black_box_tables import TABLES, installed_tables, read_table
from benchmarks.cells import OK, Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note, thousands
from benchmarks.suites import Suite

TEST_SHARE = 0.25
HELD_OUT_SHARE = 0.25
OWN = ("auto", "regression", "genetic_programming", "structures", "map")
WITHOUT_EQUATION = ("kernel_ridge", "hist_gradient_boosting", "gradient_boosting")
PEERS = ("pyoperon", "pyoperon:mdl", "gplearn", "rils_rols")
SYMBOLIC = (*OWN, *PEERS)
_FAILED = -1e30  # R2 of an equation that is not finite on an unseen row, which JSON holds


def split(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the rows to search on, to choose by and to judge by; the first two are the training rows."""
    order = np.random.default_rng([seed, 75]).permutation(rows)
    test = round(TEST_SHARE * rows)
    held_out = round(HELD_OUT_SHARE * (rows - test))
    return order[test + held_out :], order[test : test + held_out], order[:test]


def run(cell: Cell) -> dict[str, Any]:
    """Fit on the training rows, judge on the others."""
    from expressions.goodness_of_fit import r2

    inputs, target, _ = read_table(cell.problem)
    search, choose, test = split(len(target), cell.seed)
    train = np.concatenate([search, choose])
    if cell.method in WITHOUT_EQUATION:
        from benchmarks.regressors import regress

        fitted = regress(cell.method, inputs[train], target[train], cell.seed)
        predict, found = fitted.predict, {"size": fitted.size, "cpu_seconds": fitted.cpu_seconds, "infix": ""}
    else:
        predict, found = _equation(cell, inputs, target, search, choose)
    with np.errstate(all="ignore"):
        scores = [r2(target[rows], np.broadcast_to(predict(inputs[rows]), rows.shape)) for rows in (test, train)]
    test_r2, train_r2 = (score if math.isfinite(score) else _FAILED for score in scores)
    return {**found, "r2": test_r2, "train_r2": train_r2, "rows": len(target), "features": inputs.shape[1]}


def _equation(
    cell: Cell, inputs: np.ndarray, target: np.ndarray, search: np.ndarray, choose: np.ndarray
) -> tuple[Any, dict[str, Any]]:
    """What a method that gives equations predicts, and its facts."""
    from benchmarks.peers import Data, fit

    method, _, variant = cell.method.partition(":")
    settings = dict(cell.settings)
    if variant == "mdl":
        settings["pyoperon_selection"] = "minimum_description_length"
    if method == "auto":
        method = "explain"  # which keeps rows to choose by itself
    if method in ("explain", *PEERS, "linear"):
        search = choose = np.concatenate([search, choose])
    data = Data(inputs[search], target[search], inputs[choose], target[choose])
    fitted = fit(method, data, settings, cell.seed)
    return fitted.chosen.predict, {
        "size": fitted.chosen.complexity,
        "cpu_seconds": fitted.cpu_seconds,
        "wall_seconds": fitted.wall_seconds,
        "infix": fitted.chosen.expression.infix(),
    }


def report(records: Sequence[Record]) -> Report:
    """Medians over the tables of medians over the splits, and a table of R2 by table."""
    by_method = group(records, lambda record: record.cell.method)
    overall = [[method, *_overall(found)] for method, found in by_method.items()]
    headings = ["tables", "splits", "R2", "worst table", "below linear", "size", "CPU s"]
    linear = _by_table(by_method.get("linear", []))
    for row, found in zip(overall, by_method.values(), strict=True):
        row[5] = _below(found, linear)
    settings: Settings = records[0].cell.settings if records else {}
    return Report(
        [
            Grid("Tables without a known law: medians over the tables", ["method", *headings], overall),
            Grid("Median R2 on unseen rows, by table (size)", *_per_table(records, list(by_method))),
        ],
        [
            "R2 on the unseen quarter of the rows, unclipped: the median over the splits of every table, then the "
            "median over the tables; size, in nodes of the SymPy tree as SRBench counts (of gradient boosting, "
            "nodes of all trees), and CPU-seconds likewise. A failed run counts as minus infinity. below linear: "
            "tables on which the median R2 is more than .02 below that of linear least squares.",
            f"Budget of a search: {settings.get('seconds')} s by the clock on a core of its own.",
            *_missing(records),
            *failures(records),
        ],
    )


def _score(record: Record) -> float:
    return float(record.result["r2"]) if record.status == OK else -math.inf


def _by_table(records: Sequence[Record]) -> dict[str, float]:
    """Median R2 over the splits, by table."""
    return {
        name: float(np.median([_score(record) for record in found]))
        for name, found in group(records, lambda record: record.cell.problem).items()
    }


def _overall(found: Sequence[Record]) -> list[str]:
    if note := status_note(found):
        return [note, *["-"] * 6]
    scores = _by_table(found)
    by_table = group(good(found), lambda record: record.cell.problem).values()
    worst = min(scores, key=lambda name: scores[name])
    return [
        str(len(scores)),
        str(len({record.cell.seed for record in found})),
        decimals(median(scores.values()), 3),
        f"{decimals(scores[worst], 2)} {worst}",
        "-",
        thousands(median(_median_of(cells, "size") for cells in by_table)),
        decimals(median(_median_of(cells, "cpu_seconds") for cells in by_table), 1),
    ]


def _median_of(records: Sequence[Record], key: str) -> float:
    values = [record.result[key] for record in records]
    return math.nan if None in values else median(values)


def _below(found: Sequence[Record], linear: dict[str, float]) -> str:
    """How many tables a method predicts worse than linear least squares does."""
    scores = _by_table(found)
    shared = [name for name in scores if name in linear]
    if not shared or status_note(found):
        return "-"
    return str(sum(scores[name] < linear[name] - 0.02 for name in shared))


def _per_table(records: Sequence[Record], methods: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, found in group(records, lambda record: record.cell.problem).items():
        facts = next((f"{r.result['rows']:,} x {r.result['features']}" for r in good(found)), "-")
        cells = group(found, lambda record: record.cell.method)
        rows.append([f"{name}, {facts}", *(_cell(cells.get(method, [])) for method in methods)])
    return ["table, rows x features", *methods], rows


def _cell(records: Sequence[Record]) -> str:
    if not records or (note := status_note(records)):
        return "-" if not records else note
    size = _median_of(good(records), "size")
    shown = "" if math.isnan(size) else f" ({thousands(size)})"
    return decimals(float(np.median([_score(record) for record in records])), 3) + shown


def _missing(records: Sequence[Record]) -> list[str]:
    """Which tables could not be measured, since their packages are not installed."""
    absent = [name for name in TABLES if name not in installed_tables()]
    packages = sorted({TABLES[name].package for name in absent})
    if not absent or not records:
        return []
    return [f"Not installed, and left out ({', '.join(packages)}): {', '.join(absent)}."]


def _estimate(cell: Cell) -> float:
    if cell.method in SYMBOLIC:
        return float(cell.settings["seconds"]) + 6.0
    return 5.0 if cell.method in ("linear", "hist_gradient_boosting") else 40.0


SUITE = Suite(
    name="blackbox",
    summary="tables without a known law: R2 on unseen rows, size and seconds beside regressions and peers",
    methods=(*OWN, "linear", *WITHOUT_EQUATION, *PEERS),
    seeds=(1, 2, 3, 4, 5),
    settings={
        "seconds": 30.0,
        "weights": "pretrained",
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
    },
    problems=lambda settings: list(TABLES),
    estimate=_estimate,
    run=run,
    report=report,
    defaults=("auto", "linear", *WITHOUT_EQUATION, "pyoperon:mdl", "gplearn", "rils_rols"),
    default_problems=installed_tables(),
)
