"""Suite `evaluation`: how many node-rows a second evaluators reach on a whole population.

A node-row is one node of one individual on one row, counted on the trees as they are, shared or not. Ours includes
finding the shared subtrees and every Python loop. DEAP compiles each tree and calls it on float64 columns, as its
users do; pyoperon's interpreter gets the same trees, converted beforehand, and writes into a result that is there
already. Each peer's cell times the peer and ours in turns, in one process, and the ratio is of these times.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, number, status_note, thousands
from benchmarks.suites import Suite

if TYPE_CHECKING:
    from deap import gp

    from expressions.expression import Expression

POPULATIONS: dict[str, tuple[int, bool, bool]] = {
    "random15": (15, False, False),
    "evolved15": (15, True, False),
    "evolved70": (70, True, False),
    "evolved15-distinct": (15, True, True),
    "evolved70-distinct": (70, True, True),
}
"""Name -> mean size asked for, whether it evolved, whether individuals that occurred already were refused."""

METHODS = ("ours", "ours:visit", "ours:from-deap", "deap", "pyoperon")

Timed = Callable[[], object]


def run(cell: Cell) -> dict[str, Any]:
    """Median CPU-seconds of the cell's method and of ours, and the facts of the population."""
    from benchmarks.populations import primitive_set
    from expressions.evaluation import Evaluator
    from expressions.expression import Expression

    primitives = primitive_set()
    inputs = _inputs(int(cell.settings["rows"]), cell.seed)
    trees = _population(cell, primitives, inputs)
    expressions = [Expression.from_deap(tree, primitives) for tree in trees]
    evaluator = Evaluator(inputs, np.float32)
    values = np.empty((len(expressions), len(inputs)), np.float32)  # pyoperon, too, writes into what is there

    def ours() -> object:
        return evaluator.values(expressions, out=values)

    def from_deap() -> object:
        return evaluator.values([Expression.from_deap(tree, primitives) for tree in trees], out=values)

    def visit() -> object:
        evaluator.visit(expressions, lambda index, column: None)
        return None

    result = _facts(expressions, inputs)
    method: Timed
    if cell.method == "deap":
        exact = Evaluator(inputs, np.float64).values(expressions)
        method = _deap(trees, primitives, inputs, result, exact)
    elif cell.method == "pyoperon":
        method = _pyoperon(expressions, inputs, result, evaluator.values(expressions))
    else:
        method = {"ours": ours, "ours:visit": visit, "ours:from-deap": from_deap}[cell.method]
    result["seconds"], result["ours_seconds"] = _in_turns(method, ours, int(cell.settings["repeats"]))
    return result


def _facts(expressions: Sequence[Expression], inputs: np.ndarray) -> dict[str, Any]:
    """Sizes of the population, and how much of it is alike."""
    from expressions.evaluation import Plan

    nodes = sum(map(len, expressions))
    return {
        "mean_size": nodes / len(expressions),
        "distinct_nodes": len(Plan.of(expressions, inputs.shape[1])) / nodes,
        "distinct_individuals": len(set(expressions)) / len(expressions),
        "node_rows": nodes * len(inputs),
    }


def _inputs(rows: int, seed: int) -> np.ndarray:
    """HouseAge and AveRooms of `rows` block groups. `[rows, 2]`"""
    from datamodules.tables.table import check_table

    table = check_table("sklearn:california_housing", None, ["HouseAge", "AveRooms"])
    chosen = np.random.default_rng(seed).permutation(len(table))[:rows]
    return np.asarray(table.inputs[np.sort(chosen)])


def _population(cell: Cell, primitives: gp.PrimitiveSet, inputs: np.ndarray) -> list[gp.PrimitiveTree]:
    """The cell's population: the same for every method."""
    from benchmarks.populations import evolved_population, random_population

    size, evolved, distinct = POPULATIONS[cell.problem]
    random.seed(cell.seed)  # DEAP draws from the module's own generator
    count = int(cell.settings["individuals"])
    if not evolved:
        return random_population(primitives, count, size)
    return evolved_population(
        primitives,
        inputs,
        count=count,
        size=size,
        generations=int(cell.settings["generations"]),
        distinct=distinct,
        seed=cell.seed,
    )


def _deap(
    trees: Sequence[gp.PrimitiveTree],
    primitives: gp.PrimitiveSet,
    inputs: np.ndarray,
    result: dict[str, Any],
    values: np.ndarray,
) -> Timed:
    from deap import gp

    columns = [np.ascontiguousarray(inputs[:, j]) for j in range(inputs.shape[1])]

    def evaluate() -> list[Any]:
        with np.errstate(all="ignore"):
            return [gp.compile(tree, primitives)(*columns) for tree in trees]

    result["agreement"] = _agreement(values, evaluate())
    return evaluate


def _pyoperon(
    expressions: Sequence[Expression], inputs: np.ndarray, result: dict[str, Any], values: np.ndarray
) -> Timed:
    import pyoperon

    from benchmarks.peers import to_pyoperon

    # The data set does not copy: the array must outlive it, hence the closure's reference to `columns`.
    columns = np.asfortranarray(inputs.astype(np.float32))
    data = pyoperon.Dataset(columns)
    variables = [v.Hash for v in sorted(data.Variables, key=lambda v: v.Index)]
    trees = [to_pyoperon(expression, variables) for expression in expressions]
    output = np.zeros((len(trees), len(columns)), np.float32)
    rows = pyoperon.Range(0, len(columns))

    def evaluate() -> np.ndarray:
        pyoperon.EvaluateTrees(trees, data, rows, output, 1)
        return output

    result["agreement"] = _agreement(values, evaluate())
    return evaluate


def _agreement(values: np.ndarray, others: Sequence[Any] | np.ndarray) -> float:
    """Share of the individuals whose values agree to 1 in 1,000 on 99 % of the rows on which both are finite.

    Not all can: the sine of a huge number is noise in float32.
    """
    agreeing = 0
    for ours, other in zip(values, others, strict=True):
        other = np.broadcast_to(other, ours.shape)
        both = np.isfinite(ours) & np.isfinite(other)
        close = np.abs(ours[both] - other[both]) <= 1e-3 * (np.abs(other[both]) + 1e-3)
        agreeing += bool(close.size == 0 or close.mean() >= 0.99)
    return agreeing / len(values)


def _in_turns(method: Timed, ours: Timed, repeats: int) -> tuple[float, float]:
    """Median CPU-seconds of both, timed in turns after one call each that is not counted."""
    times: dict[Timed, list[float]] = {method: [], ours: []}
    for timed in times:
        timed()
    for _ in range(repeats):
        for timed, seconds in times.items():
            started = time.process_time()
            timed()
            seconds.append(time.process_time() - started)
    return median(times[method]), median(times[ours])


def report(records: Sequence[Record]) -> Report:
    """Node-rows per second and ratios, medians over the seeds."""
    rows = []
    for problem, found in group(records, lambda record: record.cell.problem).items():
        by_method = group(found, lambda record: record.cell.method)
        facts = [record.result for record in good(found)]
        row = [
            problem,
            decimals(median(fact["mean_size"] for fact in facts), 1),
            decimals(100 * median(fact["distinct_nodes"] for fact in facts), 0) + " %",
        ]
        for method in METHODS:
            cells = by_method.get(method, [])
            speeds = [
                r.result["node_rows"] / r.result["seconds"] / 1e6 for r in good(cells) if r.result["seconds"]
            ]
            row.append(status_note(cells) or thousands(median(speeds)) if cells else "-")
        for method in ("deap", "pyoperon"):
            cells = good(by_method.get(method, []))
            ratios = [r.result["seconds"] / r.result["ours_seconds"] for r in cells if r.result["ours_seconds"]]
            row.append(number(median(ratios)))
        rows.append(row)
    columns = ["population", "mean size", "distinct nodes", *METHODS, "ours / deap", "ours / pyoperon"]
    title = "Evaluation of a population, million node-rows per CPU-second"
    return Report([Grid(title, columns, rows)], [*_notes(records), *failures(records)])


def _notes(records: Sequence[Record]) -> list[str]:
    from benchmarks.populations import OPERATOR_SET

    settings: Settings = records[0].cell.settings if records else {}
    agreement = [record.result["agreement"] for record in good(records) if "agreement" in record.result]
    notes = [
        f"{settings.get('individuals')} individuals, {settings.get('rows')} rows of HouseAge and AveRooms; "
        f"operators {', '.join(OPERATOR_SET)}; evolved: {settings.get('generations')} generations of DEAP's "
        "tournament of 5, one-point crossover 90 %, uniform mutation 10 %; -distinct: duplicates refused.",
        f"Medians of {settings.get('repeats')} turns. ours: float32, shared subtrees found anew at every call; "
        "ours:visit: without storing the values; ours:from-deap: conversion of the trees included.",
    ]
    if agreement:
        notes.append(f"Peers give the same values as ours in {100 * min(agreement):.1f} % of the trees or more.")
    return notes


def _estimate(cell: Cell) -> float:
    scale = float(cell.settings["individuals"]) / 500
    rows = float(cell.settings["rows"]) / 16_512
    size, evolved, _ = POPULATIONS[cell.problem]
    building = 0.002 * size * float(cell.settings["generations"]) * scale if evolved else 0.0
    slowest = {"deap": 0.04, "pyoperon": 0.006}.get(cell.method, 0.004) * size * scale * rows
    return 3.0 + building + (float(cell.settings["repeats"]) + 2) * (slowest + 0.003 * size * scale * rows)


SUITE = Suite(
    name="evaluation",
    summary="node-rows per second of whole populations",
    methods=METHODS,
    seeds=(1, 2, 3),
    settings={"individuals": 500, "rows": 16_512, "generations": 50, "repeats": 7},
    problems=lambda settings: list(POPULATIONS),
    estimate=_estimate,
    run=run,
    report=report,
)
