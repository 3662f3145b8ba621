"""Suite `latents`: how well equations imitate the latents of an autoencoder on rows that nobody saw.

California Housing, HouseAge and AveRooms, two latents; 70 % of the rows to search on, 10 % to choose by, 20 % to
judge by. Ten networks of each kind. The published errors (Anecone 2024) stand beside ours, although a latent's
variance is arbitrary and theirs are on the rows they searched on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, number, status_note
from benchmarks.suites import Suite

METHODS = ("ours", "ours:paper", "linear", "cubic", "pyoperon", "gplearn")
COMPLEXITIES = (10, 20, 40, 60)
ENOUGH = 0.99
PAPER_MSE = (0.1152, 0.0422)


def run(cell: Cell) -> dict[str, Any]:
    """Fit the method to one latent, or train the network where that is the cell's task."""
    if cell.method == networks.NETWORK:
        return networks.train(cell)
    from benchmarks.peers import Data, fit
    from expressions.goodness_of_fit import mse, r2

    kind, latent = cell.problem.split("/")
    network = networks.load(cell.out, kind, cell.seed, cell.settings)
    column = int(latent[1:]) - 1
    inputs = network.inputs
    target = {part: network.latents[part][:, column] for part in ("train", "validation", "test")}
    data = Data(inputs["train"], target["train"], inputs["validation"], target["validation"])
    fitted = fit(cell.method, data, cell.settings, cell.seed)

    def values(model: Any, part: str) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(model.predict(inputs[part])), target[part].shape)

    within: dict[str, float | None] = {}
    for complexity in COMPLEXITIES:
        short = [model for model in fitted.front if model.complexity <= complexity]
        best = min(short, key=lambda m: mse(target["validation"], values(m, "validation")), default=None)
        within[str(complexity)] = None if best is None else _finite(r2(target["test"], values(best, "test")))
    chosen = values(fitted.chosen, "test")
    return {
        "within": within,
        "r2": _finite(r2(target["test"], chosen)),
        "mse": _finite(mse(target["test"], chosen)),
        "complexity": fitted.chosen.complexity,
        "infix": fitted.chosen.expression.infix(network.feature_names),
        "variance": float(np.var(target["test"])),
        "wall_seconds": fitted.wall_seconds,
        "cpu_seconds": fitted.cpu_seconds,
    }


def _finite(value: float) -> float:
    """JSON has no infinity."""
    return value if math.isfinite(value) else math.copysign(1e30, value)


def report(records: Sequence[Record]) -> Report:
    """One table for every kind of network."""
    by_kind = group(records, lambda record: record.cell.problem.split("/")[0])
    return Report([_grid(kind, found) for kind, found in by_kind.items()], _notes(records))


def _grid(kind: str, records: Sequence[Record]) -> Grid:
    rows = []
    for method, found in group(records, lambda record: record.cell.method).items():
        trials = group(found, lambda record: record.cell.seed)
        row = [method]
        row += [
            status_note(found) or _spread([_within(r, complexity) for r in found]) for complexity in COMPLEXITIES
        ]
        row.append(status_note(found) or _spread([_r2(record) for record in found]))
        row.append(decimals(median(record.result["complexity"] for record in good(found)), 0))
        for latent in range(networks.LATENTS):
            errors = [r.result["mse"] for r in good(found) if r.cell.problem.endswith(f"z{latent + 1}")]
            row.append(number(float(np.mean(errors)) if errors else math.nan))
        for read in (lambda record: _within(record, 40), _r2):
            low = sum(min((read(r) or 0.0) for r in cells) < ENOUGH for cells in trials.values())
            row.append(status_note(found) or f"{low}/{len(trials)}")
        row.append(decimals(median(record.result["cpu_seconds"] for record in good(found)), 1))
        rows.append(row)
    if kind == "paper":
        published = [number(error) for error in PAPER_MSE]
        rows.append(["published", *["-"] * (len(COMPLEXITIES) + 2), *published, "-", "-", "-"])
    columns = [
        "method",
        *(f"R2 at {complexity}" for complexity in COMPLEXITIES),
        "R2 chosen",
        "nodes",
        "MSE z1",
        "MSE z2",
        f"< {ENOUGH} at 40",
        f"< {ENOUGH}",
        "seconds",
    ]
    return Grid(f"Latents of the autoencoder, {_TITLES[kind]}, held-out rows: median / lowest", columns, rows)


_TITLES = {"inputs": "decode=inputs", "target": "decode=target", "paper": "experiment=autoencoder_paper"}


def _within(record: Record, complexity: int) -> float | None:
    """R2 at a complexity; None where the method has no equation so short; -1e30 where the cell failed."""
    if record.status != "ok":
        return -1e30
    value: float | None = record.result["within"][str(complexity)]
    return value


def _r2(record: Record) -> float | None:
    return float(record.result["r2"]) if record.status == "ok" else -1e30


def _spread(values: Sequence[float | None]) -> str:
    """Median and minimum; a cell without an equation counts as the mean value, R2 = 0, unless all lack one."""
    if all(value is None for value in values):
        return "-"
    numbers = [value or 0.0 for value in values]
    return f"{_score(median(numbers))} / {_score(min(numbers))}"


def _score(value: float) -> str:
    return "failed" if value < -1e29 else decimals(value, 5)


def _notes(records: Sequence[Record]) -> list[str]:
    settings: Settings = records[0].cell.settings if records else {}
    trials = len({record.cell.seed for record in records})
    return [
        f"{trials} networks of each kind (seeds 1 to {trials}), two latents each, {settings.get('seconds')} "
        "CPU-seconds a latent and one core; linear and cubic need none, ours:paper runs its 200 generations.",
        "R2 at N: the equation of at most N nodes (of SymPy's tree, as SRBench counts) that is best on validation "
        f"rows; < {ENOUGH}: trials of which a latent stays below. nodes: median. MSE: mean over the trials, raw "
        f"units of the latent; published {PAPER_MSE[0]} and {PAPER_MSE[1]} on the rows searched on (a latent's "
        "variance is arbitrary).",
        f"pyoperon: length {settings.get('pyoperon_length')}, NSGA-II on (R2, length), Levenberg-Marquardt "
        f"{settings.get('pyoperon_iterations')} iterations, population {settings.get('pyoperon_population')}, "
        "model by lowest error. gplearn: population 1000, parsimony 0.0001 var(y).",
        *failures(records),
    ]


def _estimate(cell: Cell) -> float:
    if cell.method == networks.NETWORK:
        return networks.estimate(cell)
    budget = float(cell.settings["seconds"])
    return 8.0 + {"linear": 0.0, "cubic": 0.0, "ours:paper": 60.0}.get(cell.method, budget)


def _first(cells: Sequence[Cell]) -> list[Cell]:
    return networks.missing(cells, [cell.problem.split("/")[0] for cell in cells])


def _problems(settings: Settings) -> list[str]:
    return [f"{kind}/z{latent + 1}" for kind in networks.KINDS for latent in range(networks.LATENTS)]


SUITE = Suite(
    name="latents",
    summary="equations for the latents of an autoencoder, on held-out rows",
    methods=METHODS,
    seeds=tuple(range(1, 11)),
    settings={
        "seconds": 30.0,
        "pyoperon_length": 30,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
        **networks.SETTINGS,
    },
    problems=_problems,
    estimate=_estimate,
    run=run,
    report=report,
    first=_first,
)
