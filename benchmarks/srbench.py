"""Suite `srbench`: problems with a ground truth, by the protocol of SRBench.

La Cava et al., "Contemporary Symbolic Regression Methods and their Relative Performance", NeurIPS Datasets and
Benchmarks 2021: rows drawn over the published ranges, 75 % to search on (10,000 at most) and 25 % to judge by,
noise on the training target alone. Accurate: R2 above 0.999 on the fresh rows, never clipped. Recovered: truth and
equation differ by a constant term or factor once constants are rounded to 3 decimals. Equivalent: NRMSE below
1e-6.

Methods: `map` searches the latent space of the packaged map of equations by CMA-ES; `map+gp` gives a share of the
same time to genetic programming, seeded with what the map found; `sums+map+gp` begins with what regression finds,
as genetic programming does anyway; `gp` is genetic programming alone for all of the time; `prior+gp` samples the
map and does not search it; `paper` is GenSR's own search on our map; `pyoperon` and `gplearn` are peers. None of
the problems' skeletons is in the map's training data.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, status_note
from benchmarks.suites import Suite
from datamodules.tables.problems import suite, suites

EXACT_NRMSE = 1e-6
ACCURATE = 0.999
OURS: dict[str, dict[str, Any]] = {
    "sums+map+gp": {"method": "cmaes", "linked_sums": 40, "polish": "gp"},
    "map+gp": {"method": "cmaes", "polish": "gp"},
    "map": {"method": "cmaes", "polish": "none"},
    "prior+gp": {"method": "prior", "polish": "gp"},
    "prior": {"method": "prior", "polish": "none"},
    "gp": {"method": "none", "polish": "gp"},
    "paper": {"method": "paper", "polish": "none"},
}
PEERS = ("pyoperon", "gplearn")
SAMPLE = 44
_UNDEFINED = 1e29  # error beyond which an equation is not finite on a fresh row


def run(cell: Cell) -> dict[str, Any]:
    """Search on the training rows, judge on the others."""
    from datamodules.tables.problems import draw_tables, problem
    from expressions.equivalence import recovered
    from expressions.goodness_of_fit import nmse

    posed = problem(cell.problem)
    tables = draw_tables(posed, noise_level=float(cell.settings["noise_level"]), seed=cell.seed)
    train, test = tables["train"], tables["test"]
    assert train.target is not None
    assert test.target is not None
    latent_map = _map_of(cell)  # loaded, and torch imported, before the clock starts
    begun, begun_cpu = time.perf_counter(), time.process_time()
    found = _ours(cell, train, latent_map) if cell.method in OURS else _peer(cell, train)
    wall, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    expression, complexity, stopped = found
    with np.errstate(all="ignore"):
        error = nmse(test.target, np.broadcast_to(expression(test.inputs), test.target.shape))
    error = float(error) if np.isfinite(error) else 10 * _UNDEFINED
    return {
        "r2": 1.0 - error,
        "equivalent": error**0.5 < EXACT_NRMSE,
        "recovered": bool(recovered(expression, posed.truth)),
        "complexity": complexity,
        "infix": expression.infix(posed.variables),
        "stopped": stopped,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
    }


def _map_of(cell: Cell) -> Any:
    from benchmarks.maps import load_map

    without = (*PEERS, "gp")
    return None if cell.method in without else load_map(str(cell.settings["weights"]))


def _ours(cell: Cell, train: Any, latent_map: Any) -> tuple[Any, int, str]:
    from searches.latent_cmaes import search
    from searches.latent_space.settings import LatentSearchSettings

    options = LatentSearchSettings(seconds=float(cell.settings["seconds"]), **OURS[cell.method])
    found = search(train.inputs, train.target, options, latent_map=latent_map, seed=cell.seed)
    return found.best.expression, found.best.complexity, found.stopped


def _peer(cell: Cell, train: Any) -> tuple[Any, int, str]:
    from benchmarks.peers import Data, fit

    data = Data(train.inputs, train.target, train.inputs, train.target)
    chosen = fit(cell.method, data, cell.settings, cell.seed).chosen
    return chosen.expression, chosen.complexity, ""


def report(records: Sequence[Record]) -> Report:
    """One row a method and set of problems."""
    rows = []
    for method, found in group(records, lambda record: record.cell.method).items():
        for name, of_set in group(found, _set_of).items():
            rows.append([f"{method}, {name}", *_columns(of_set)])
    headings = ["n", "mean R2", "median R2", "> .99", "> .999", "recovered", "equivalent", "nodes", "s"]
    settings: Settings = records[0].cell.settings if records else {}
    return Report(
        [Grid("Ground-truth problems by SRBench's protocol", ["method", *headings], rows)],
        [
            f"Budget {settings.get('seconds')} s on one core, an exact equation ends the search; noise "
            f"{settings.get('noise_level')}. R2 on fresh rows, unclipped, also in the mean. A failed run counts "
            "as neither accurate nor recovered. nodes and s (by the clock, last rounding included): medians.",
            *_undefined(records),
            *failures(records),
        ],
    )


def _undefined(records: Sequence[Record]) -> list[str]:
    """Which equations are not finite on a fresh row."""
    names = [
        f"{record.cell.problem} by {record.cell.method}"
        for record in good(records)
        if record.result["r2"] < -_UNDEFINED
    ]
    return [f"Not finite on a fresh row, and not in the mean: {', '.join(names)}."] if names else []


def _set_of(record: Record) -> str:
    return "strogatz" if record.cell.problem in suite("strogatz") else "feynman"


def _columns(cells: Sequence[Record]) -> list[str]:
    done = good(cells)
    if not done:
        return [str(len(cells)), status_note(cells) or "-", *["-"] * 7]
    scores = np.array([record.result["r2"] for record in done])
    defined = scores[scores > -_UNDEFINED]

    def share(count: float) -> str:
        return f"{100 * count / len(cells):.1f} %"

    return [
        str(len(cells)),
        decimals(float(defined.mean()) if len(defined) else math.nan, 4),
        decimals(float(np.median(scores)), 6),
        share(float((scores > 0.99).sum())),
        share(float((scores > ACCURATE).sum())),
        share(sum(record.result["recovered"] for record in done)),
        share(sum(record.result["equivalent"] for record in done)),
        decimals(median(record.result["complexity"] for record in done), 0),
        decimals(median(record.result["wall_seconds"] for record in done), 1),
    ]


def sample() -> tuple[str, ...]:
    """Names of a fixed random choice of the 133 problems of the neural papers."""
    everything = [*suite("feynman_119"), *suite("strogatz")]
    return tuple(random.Random(20_261_125).sample(everything, SAMPLE))


def _words(word: str) -> tuple[str, ...]:
    """The problems that a word stands for: `sample44`, see `sample`; a suite; or a problem."""
    if word == f"sample{SAMPLE}":
        return sample()
    return suite(word) if word in suites() else (word,)


SUITE = Suite(
    name="srbench",
    summary="Feynman and Strogatz problems by SRBench's protocol",
    methods=(*OURS, *PEERS),
    seeds=(1,),
    settings={
        "seconds": 30.0,
        "noise_level": 0.0,
        "weights": "pretrained",
        "operators": "add,sub,mul,div,square,sqrt,exp,log,sin,cos,tanh",
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
    },
    problems=lambda settings: [*suite("feynman"), *suite("strogatz")],
    estimate=lambda cell: 10.0 + 0.6 * float(cell.settings["seconds"]),
    run=run,
    report=report,
    defaults=("map+gp",),
    default_problems=(*suite("feynman_119"), *suite("strogatz")),
    expand=_words,
)
