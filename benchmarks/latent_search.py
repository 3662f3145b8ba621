"""Suite `latent`: what does searching a map of equations add to sampling from it?

Held-out problems (`datamodules.streams.heldout`): equations whose skeletons no training set has, 1 to 3
variables, `short` of 4 to 12 tokens and `long` of 13 to 20; 200 rows, with noise of `noise_level` times the
target's root mean square (0 unless it is set), and 200 fresh rows without noise to judge by. Solved: NRMSE below
1e-6 on the fresh rows. Right: the structure is the true one, whatever the constants, which is what can be asked
for where there is noise. A cell is one method on all problems of a group.

Methods decode an equal number of latents (`greedy` 1, `prior_64` 64, `…_320` 320) or search for equal time
(`…_time`, `seconds` of one core each, nothing polished by genetic programming). A method with `:control` takes the
prior of ANOTHER problem of the group, also for its rewritten targets: what it solves, it owes to luck, to the
fitting of constants and to what is done without the map.
`cmaes_alone` asks about the table itself alone; `cmaes` rewrites its target as well
(`searches.latent_space.target_rewriting`), and puts equations together from parts of others
(`searches.links.sums`); `no_posterior` does so too, but never asks where in the map an equation lies that
was found. `gp_time` is the measure of them all: genetic programming for the same time, without any map.
`all_time` begins with what regression finds, searches the map, and leaves genetic programming the rest of the
time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.suites import Suite

if TYPE_CHECKING:
    from datamodules.tables.problems import Problem
    from expressions.expression import Expression

EXACT_NRMSE = 1e-6
GROUPS = {"short": (4, 12), "long": (13, 20)}
_SAMPLES = {"method": "prior", "population": 64}  # nothing is learned from a generation: as many as decode fastest
_ALONE = {"method": "cmaes", "prior_share": 0.0, "rewritten_share": 0.0, "recombine_every": 0}
_NO_POSTERIOR = {"method": "cmaes", "elite_share": 0.0, "inject": 0}
_FEW = {"population": 16}  # where decodes are counted, small generations learn more often
_FEW_QUESTIONS = _FEW | {"prior_share": 0.0, "rewritten_share": 0.6, "question_samples": 1}
_PAPER = {"method": "paper", "population": 80, "step": 1.3}
_BUDGETS: dict[str, dict[str, Any]] = {
    "greedy": {"method": "greedy", "decodes": 1},
    "prior_64": _SAMPLES | {"decodes": 64},
    "prior_320": _SAMPLES | {"decodes": 320},
    "cmaes_320": _FEW_QUESTIONS | {"method": "cmaes", "decodes": 320},
    "no_posterior_320": _FEW_QUESTIONS | _NO_POSTERIOR | {"decodes": 320},
    "cmaes_alone_320": _ALONE | _FEW | {"decodes": 320},
    "paper_320": _PAPER | {"decodes": 320},
    "prior_time": _SAMPLES,
    "cmaes_time": {"method": "cmaes"},
    "no_posterior_time": _NO_POSTERIOR,
    "cmaes_alone_time": _ALONE,
    "paper_time": _PAPER,
    "gp_time": {"method": "none", "polish": "gp"},
    "all_time": {"method": "cmaes", "linked_sums": 40, "polish": "gp"},
}
METHODS = (*_BUDGETS, *(f"{name}:control" for name, budget in _BUDGETS.items() if budget["method"] != "none"))


def run(cell: Cell) -> dict[str, Any]:
    """Search every problem of the group."""
    from benchmarks.maps import ForeignPrior, load_map
    from datamodules.tables.problems import draw_tables
    from searches.latent_cmaes import search
    from searches.latent_space.settings import LatentSearchSettings

    settings = cell.settings
    latent_map = load_map(str(settings["weights"]))
    posed = problems_of(cell, latent_map)
    noise = float(settings["noise_level"])
    tables = [draw_tables(problem, noise_level=noise, seed=cell.seed) for problem in posed]
    kind, _, control = cell.method.partition(":")
    budget: dict[str, Any] = {"polish": "none", "simplify_seconds": 0.0} | _BUDGETS[kind]
    budget["seconds"] = None if "decodes" in budget else float(settings["seconds"])
    options = LatentSearchSettings(**budget)
    trials = []
    for number, (problem, rows) in enumerate(zip(posed, tables, strict=True)):
        train, test = rows["train"], rows["test"]
        other = tables[(number + 1) % len(tables)]["train"]
        assert train.target is not None
        assert test.target is not None
        assert other.target is not None
        used: Any = ForeignPrior(latent_map, (other.inputs, other.target)) if control else latent_map
        begun = time.perf_counter()
        found = search(train.inputs, train.target, options, latent_map=used, seed=cell.seed)
        with np.errstate(all="ignore"):
            error = found.best.expression(test.inputs) - test.target
            nrmse = float(np.sqrt(np.mean(error**2)) / np.std(test.target))
        trials.append(
            {
                "formula": problem.formula,
                "infix": found.best.expression.infix(problem.variables),
                "nrmse": nrmse if np.isfinite(nrmse) else 1e30,
                "right": _structure(found.best.expression) == _structure(problem.truth),
                "decodes": found.counts["decodes"],
                "skeletons": found.counts["skeletons"],
                "seconds": time.perf_counter() - begun,
            }
        )
    return {"trials": trials}


def problems_of(cell: Cell, latent_map: Any) -> list[Problem]:
    """The held-out problems of a cell's group, of what the map knows."""
    from datamodules.settings.streams import PoolSettings
    from datamodules.streams.heldout import heldout_problems

    shortest, longest = GROUPS[cell.problem]
    pool = PoolSettings(variables=latent_map.variables, longest=latent_map.longest)
    return heldout_problems(int(cell.settings["count"]), pool, cell.seed, shortest=shortest, longest=longest)


def _structure(expression: Expression) -> Any:
    from expressions.skeleton import skeleton_of, structure_of

    return structure_of(skeleton_of(expression))


def report(records: Sequence[Record]) -> Report:
    """One row a method: solved problems of each group, seconds and skeletons a problem."""
    groups = list(dict.fromkeys(record.cell.problem for record in records))
    rows = []
    for method, found in group(records, lambda record: record.cell.method).items():
        row = [method]
        by_group = group(found, lambda record: record.cell.problem)
        for name in groups:
            row += _columns(by_group.get(name, []))
        rows.append(row)
    headings = [f"{name}{what}" for name in groups for what in (" solved", " right", ", s", ", skeletons")]
    settings: Settings = records[0].cell.settings if records else {}
    return Report(
        [Grid("Held-out equations found by searching the map", ["method", *headings], rows)],
        [
            f"solved: NRMSE below {EXACT_NRMSE:g} on 200 fresh rows; seconds and skeletons: medians over problems,"
            " until a problem was exact or the budget spent. control: the prior of another problem.",
            f"{settings.get('count')} problems a group and seed; {settings.get('seconds')} s where time is the "
            f"budget; weights {settings.get('weights')}; noise {settings.get('noise_level')}.",
            *failures(records),
        ],
    )


def _columns(cells: Sequence[Record]) -> list[str]:
    trials = [trial for record in good(cells) for trial in record.result["trials"]]
    if not trials:
        return [status_note(cells) or "-", "-", "-", "-"]
    solved, right = (
        sum(trial["nrmse"] < EXACT_NRMSE for trial in trials),
        sum(trial["right"] for trial in trials),
    )
    return [
        f"{100 * solved / len(trials):.0f} % of {len(trials)}",
        f"{100 * right / len(trials):.0f} %",
        decimals(median(trial["seconds"] for trial in trials), 1),
        decimals(median(trial["skeletons"] for trial in trials), 0),
    ]


def _estimate(cell: Cell) -> float:
    budget = _BUDGETS[cell.method.partition(":")[0]]
    each = 0.5 + 0.03 * budget["decodes"] if "decodes" in budget else float(cell.settings["seconds"])
    return 10.0 + float(cell.settings["count"]) * each


SUITE = Suite(
    name="latent",
    summary="held-out equations: samples of the map, CMA-ES in it, and controls",
    methods=METHODS,
    seeds=(1,),
    settings={"count": 50, "seconds": 20.0, "weights": "pretrained", "noise_level": 0.0},
    problems=lambda settings: list(GROUPS),
    estimate=_estimate,
    run=run,
    report=report,
    defaults=(
        *("greedy", "prior_64", "prior_64:control", "prior_320", "prior_320:control"),
        *("cmaes_alone_320", "cmaes_320"),
    ),
)
