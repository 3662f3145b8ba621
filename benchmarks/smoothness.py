"""Suite `smoothness`: do near places of the map hold near equations?

A search by small steps can only work where they do. On held-out problems (`datamodules.streams.heldout`, `short`
and `long` as in the suite `latent`, 200 rows without noise), equations are decoded greedily at evenly spaced
points of a line and fitted to the problem's table (`searches.latent_space.smoothness`). Lines go between two
samples of the prior of that table (`samples`), or from its mean to the mean of the posterior of the true
equation (`truth`).

Reported, means over lines: different equations on a line; the share of the steps on which the equation stays; the
change of the logarithm of the normalised error from one point to the next, and the same with the points in random
order, which is what a map without neighbourhoods would have. Smooth is a ratio far below 1. Of `truth` also the
share of lines at whose end, and at whose middle, the error is that of the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.latent_search import GROUPS, problems_of
from benchmarks.report import Grid, Report, decimals, failures, good, group, status_note
from benchmarks.suites import Suite

METHODS = ("samples", "truth")
_EXACT = np.log(1e-12)  # of a normalised squared error
_ORDERS = 20  # random ones


def run(cell: Cell) -> dict[str, Any]:
    """One line for each problem of the group."""
    from benchmarks.maps import load_map
    from datamodules.tables.problems import draw_tables
    from searches.latent_space.smoothness import smoothness

    latent_map = load_map(str(cell.settings["weights"]))
    points = int(cell.settings["points"])
    rng = np.random.default_rng(cell.seed)
    lines = []
    for problem in problems_of(cell, latent_map):
        train = draw_tables(problem, seed=cell.seed)["train"]
        assert train.target is not None
        table = train.inputs, train.target
        seen = smoothness(latent_map, table, _line(cell.method, latent_map, table, problem, rng), points)
        shuffled = [np.abs(np.diff(rng.permutation(seen.log_nmse))).mean() for _ in range(_ORDERS)]
        lines.append(
            {
                "equations": len(set(seen.programs)),
                "equal_share": seen.equal_share,
                "change": seen.mean_change,
                "change_in_random_order": float(np.mean(shuffled)),
                "exact_in_the_middle": bool(seen.log_nmse[points // 2] < _EXACT),
                "exact_at_the_end": bool(seen.log_nmse[-1] < _EXACT),
            }
        )
    return {"lines": lines}


def _line(
    method: str, latent_map: Any, table: tuple[np.ndarray, np.ndarray], problem: Any, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    from expressions.skeleton import skeleton_of

    (mean,), (deviation,) = latent_map.prior([table])
    if method == "truth":
        (end,), _ = latent_map.posterior(table, [skeleton_of(problem.truth)])
        return mean, end
    one, other = mean + deviation * rng.normal(size=(2, len(mean)))
    return one, other


def report(records: Sequence[Record]) -> Report:
    """One row a method and group."""
    rows = []
    for method, of_method in group(records, lambda record: record.cell.method).items():
        for name, found in group(of_method, lambda record: record.cell.problem).items():
            rows.append([f"{method}, {name}", *(_columns(method, found) or [status_note(found)] + ["-"] * 6)])
    headings = ["equations", "steps that change nothing", "change", "in random order", "ratio"]
    settings: Settings = records[0].cell.settings if records else {}
    return Report(
        [
            Grid(
                "What changes along lines of the latent space",
                ["line", *headings, "formula in the middle", "at the end"],
                rows,
            )
        ],
        [
            f"means over {settings.get('count')} problems a group and seed, {settings.get('points')} points a "
            "line; change: of the logarithm of the normalised squared error from point to point; weights "
            f"{settings.get('weights')}.",
            *failures(records),
        ],
    )


def _columns(method: str, cells: Sequence[Record]) -> list[str]:
    lines = [line for record in good(cells) for line in record.result["lines"]]
    if not lines:
        return []

    def mean(name: str) -> float:
        return float(np.mean([line[name] for line in lines]))

    change, shuffled = mean("change"), mean("change_in_random_order")
    exact = [f"{100 * mean(f'exact_{where}'):.0f} %" for where in ("in_the_middle", "at_the_end")]
    return [
        decimals(mean("equations"), 1),
        f"{100 * mean('equal_share'):.0f} %",
        decimals(change, 2),
        decimals(shuffled, 2),
        decimals(change / shuffled if shuffled else np.nan, 2),
        *(exact if method == "truth" else ["-", "-"]),
    ]


SUITE = Suite(
    name="smoothness",
    summary="lines through the map of equations: do near places hold near equations",
    methods=METHODS,
    seeds=(1,),
    settings={"count": 50, "points": 33, "weights": "pretrained"},
    problems=lambda settings: list(GROUPS),
    estimate=lambda cell: 20.0 + 1.5 * float(cell.settings["count"]),
    run=run,
    report=report,
)
