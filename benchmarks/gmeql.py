"""Suite `gmeql`: does a Gumbel-max equation learner find the formula itself?

b1 to b8 of G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2,
and any other problem of the catalogue. `hard` is our default; its variants leave one part out. `paper` is
Algorithm 1 at its full schedule, and `paper:…` the published ablations; the restarts of a cell are runs of their
own.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median, number, status_note
from benchmarks.suites import Suite
from datamodules.tables.problems import problem, suite, suites

EXACT_NRMSE = 1e-6
PAPER_FUNCTIONS = (
    "id*3 square cube pow4 pow5 pow6 sin*2 cos*2 mul div",
    "add mul*2 div id*4 sum",
    "add mul*2 div sqrt id*3 sum",
    "add*2 id",
)
"""The default network without the functions that the paper's has not."""

VARIANTS: dict[str, tuple[str, ...]] = {
    "hard": (),
    "hard:paper_functions": (f"model.layers={list(PAPER_FUNCTIONS)}",),
    "hard:no_elites": ("search.fresh=1.0", "model.learning_rate=0.0"),
    "hard:no_learning": ("model.learning_rate=0.0",),
    "hard:no_parsimony": ("search.parsimony=0.0",),
    "hard:one_start": ("search.frequency_starts=1", "search.starts=1"),
    "hard:no_restarts": ("search.patience=1000000000",),
    "paper": (),
    "paper:no_stage1": ("model.stage1_rounds=0",),
    "paper:no_repository": ("model.resampled=1", "model.offline_gradient=none"),
    "paper:no_offline": ("model.offline_gradient=none",),
    "paper:eq11": ("model.offline_gradient=eq11",),
    "paper:straight_through": ("model.sampling=straight_through",),
    "paper:hard_samples": ("model.sampling=hard",),
}
"""Method -> what `train.py` is told beside the experiment."""


def run(cell: Cell) -> dict[str, Any]:
    """Run the command line's own functions in this process: the clock does not count their import."""
    import contextlib
    import json
    import tempfile

    from rediscover.training import compose, train

    settings = cell.settings
    words = ["logger=csv", f"seed={cell.seed}", f"data.problem={cell.problem}", *VARIANTS[cell.method]]
    words.append(f"data.noise={settings['noise']}")
    if cell.method.startswith("hard"):
        words += ["model=gmeql", *_budget(settings)]
    else:
        small = cell.problem in ("b1", "b2", "b3", "b4")  # the network for the others is not published
        words += [f"experiment=gmeql_paper{'' if small else '_b5_b8'}", f"model.restarts={settings['restarts']}"]
        if settings["epochs"]:
            words.append(f"trainer.max_epochs={settings['epochs']}")
    with tempfile.TemporaryDirectory() as folder:
        config = compose([*words, f"hydra.run.dir={folder}"])
        begun, begun_cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            train(config)
        wall, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
        curve = Path(folder) / "search" / "learning_curve.csv"
        curves = curve.read_text(encoding="utf-8") if curve.exists() else ""
    return {
        "trials": [_judged(cell, equation) for equation in results["equations"]],
        "seconds": results["metrics"]["search/seconds"],
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "instances_per_second": results["metrics"].get("search/instances_per_second"),
        "instances": results["metrics"].get("search/instances"),
        "curves": curves,
    }


def _budget(settings: Settings) -> list[str]:
    """Limit of a search with hard structures: instances where given, else seconds."""
    if settings["instances"]:
        return ["search.seconds=null", f"search.instances={settings['instances']}"]
    return [f"search.seconds={settings['seconds']}"]


def _judged(cell: Cell, equation: dict[str, Any]) -> dict[str, Any]:
    """What one equation is worth on fresh rows."""
    from expressions.canonical_form import canonical_key
    from expressions.equivalence import recovered
    from expressions.goodness_of_fit import nmse
    from expressions.parsing import parse

    posed = problem(cell.problem)
    found = parse(equation["infix"], posed.variables)
    inputs, target = posed.sample(300, np.random.default_rng([cell.seed, 20_261_124]))
    with np.errstate(all="ignore"):
        error = float(np.sqrt(nmse(target, found(inputs))))
    return {
        "nrmse": error if np.isfinite(error) else 1e30,
        "recovered": bool(recovered(found, posed.truth)),
        "structure": canonical_key(found, constants=False) == canonical_key(posed.truth, constants=False),
        "complexity": equation["complexity"],
        "infix": equation["infix"],
    }


def report(records: Sequence[Record]) -> Report:
    """One row a problem: exact, recovered and structurally right runs of every method."""
    methods = list(dict.fromkeys(record.cell.method for record in records))
    rows = []
    for name, found in group(records, lambda record: record.cell.problem).items():
        row = [name]
        by_method = group(found, lambda record: record.cell.method)
        for method in methods:
            row += _columns(by_method.get(method, []))
        rows.append([*row, _published(name), "yes" if in_default_network(name) else "not as spelled"])
    headings = [f"{method} {what}".strip() for method in methods for what in ("", "s", "s max")]
    title = "The formula itself: runs that are exact / recovered / of the right structure"
    columns = ["problem", *headings, "published", "in the network"]
    return Report([Grid(title, columns, [*rows, _total(records, methods)])], _notes(records))


def _total(records: Sequence[Record], methods: Sequence[str]) -> list[str]:
    """The last row: all problems together."""
    row = ["all"]
    for method in methods:
        row += _columns([record for record in records if record.cell.method == method])
    return [*row, "", ""]


@cache
def in_default_network(name: str) -> bool:
    """Whether the default network has a structure for a formula, as it is spelled or in canonical form."""
    from omegaconf import OmegaConf

    import configs
    from expressions.canonical_form import canonical
    from expressions.equation_learner.architecture import Architecture
    from expressions.equation_learner.expressible import can_express

    config = OmegaConf.load(Path(configs.__file__).parent / "model" / "gmeql.yaml")
    posed = problem(name)
    network = Architecture(list(config.model.layers), len(posed.variables), bool(config.model.constant))
    return any(can_express(network, form) for form in (posed.truth, canonical(posed.truth)))


def _columns(cells: Sequence[Record]) -> list[str]:
    done = good(cells)
    trials = [trial for record in done for trial in record.result["trials"]]
    counts = [
        sum(trial["nrmse"] < EXACT_NRMSE for trial in trials),
        sum(trial["recovered"] for trial in trials),
        sum(trial["structure"] for trial in trials),
    ]
    seconds = [record.result["seconds"] for record in done]
    return [
        status_note(cells) or f"{counts[0]} / {counts[1]} / {counts[2]} of {len(trials)}",
        decimals(median(seconds), 1),
        decimals(max(seconds, default=None), 1),
    ]


def _published(name: str) -> str:
    rate = problem(name).published_success
    return "" if rate is None else f"{100 * rate:.0f} %"


def _notes(records: Sequence[Record]) -> list[str]:
    settings: Settings = records[0].cell.settings if records else {}
    rates = [r.result["instances_per_second"] for r in good(records) if r.result.get("instances_per_second")]
    return [
        f"exact: NRMSE below {EXACT_NRMSE:g} on 300 fresh rows without noise; recovered: SRBench's rule, constants"
        " rounded to 3 decimals; right structure: the truth but for the values of constants. A failed run counts"
        " as not found. s: seconds from the first proposal to the last rounding, median and largest.",
        f"Noise of standard deviation {settings.get('noise')} on the training target. Budget of `hard`: "
        f"{settings.get('seconds')} s. published: share of 20 runs of 3 to 4 hours (without noise).",
        f"Instances a second, median over the cells: {number(median(rates), 4)}.",
        "in the network: whether `hard`'s default network has a structure for the formula, as it is spelled "
        "or in canonical form (`expressions/equation_learner/expressible.py`).",
        *failures(records),
    ]


def draw(records: Sequence[Record], out: Path) -> list[Path]:
    """The paper's learning curves: best error over instances, mean and deviation of all restarts."""
    from reports.figures import error_bands

    drawn = []
    for name, found in group(good(records), lambda record: record.cell.problem).items():
        by_method = group(found, lambda record: record.cell.method)
        curves = {
            method: _band([curve for cell in cells for curve in _curves(cell.result["curves"])])
            for method, cells in by_method.items()
            if any(cell.result["curves"] for cell in cells)
        }
        if curves:
            drawn.append(error_bands(curves, out / f"gmeql_{name}.png", name))
    return drawn


def _curves(text: str) -> list[np.ndarray]:
    """Every restart's improvements, `[improvements, 2]`: instances and the error from then on."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        rows.setdefault(row["restart"], []).append((float(row["instances"]), float(row["mae"])))
    return [np.array(points) for points in rows.values()]


def _band(curves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation at common numbers of instances, from where all runs have an error."""
    first, last = max(curve[0, 0] for curve in curves), max(curve[-1, 0] for curve in curves)
    instances = np.geomspace(max(first, 1.0), max(last, first + 1.0), 200)
    errors = np.stack([c[np.searchsorted(c[:, 0], instances, side="right") - 1, 1] for c in curves])
    return instances, errors.mean(axis=0), errors.std(axis=0)


def _estimate(cell: Cell) -> float:
    if cell.method.startswith("hard"):
        return 8.0 + float(cell.settings["seconds"]) / (1.0 if cell.settings["noise"] else 8.0)
    small = cell.problem in ("b1", "b2", "b3", "b4")
    return 30.0 + (110.0 if small else 250.0) * float(cell.settings["restarts"])


SUITE = Suite(
    name="gmeql",
    summary="exact recovery by the Gumbel-max equation learner, ours and the paper's",
    methods=tuple(VARIANTS),
    seeds=tuple(range(1, 21)),
    settings={"seconds": 60.0, "instances": 0, "noise": 0.0, "restarts": 5, "epochs": 0},
    problems=lambda settings: list(dict.fromkeys(name for word in suites() for name in suite(word))),
    estimate=_estimate,
    run=run,
    report=report,
    draw=draw,
    defaults=("hard",),
    default_problems=suite("gmeql"),
    expand=lambda word: suite(word) if word in suites() else (word,),
)
