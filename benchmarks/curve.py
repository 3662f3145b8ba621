"""Suite `curve`: how many of SRBench's problems with a ground truth are found by how many CPU-seconds.

119 problems of Feynman and 14 of Strogatz, without noise, one core. What stands after 0.3, 1, 3, 10 and 30
CPU-seconds is judged on the published number of fresh rows. Exact: NRMSE below 1e-6 there, in float64, the rule of
the suite `srbench`; recovered: structure and constants by SRBench's rule (`expressions.equivalence`).

Our searches get a run for every budget, as a person would begin it, until a run says itself that it is exact: this
one counts for longer budgets, too, whether it is right or wrong. Their clock is the processor's, and a run that
took more than 1.1 times a budget does not count for it. What the process of SymPy works, which spells the picked
equation shorter, stands in a column of its own: its limit is by the clock, and on a busy machine it is killed and
begins anew.

pyoperon and gplearn do not know their budget, so that one run is enough, of which every generation is looked at
(`benchmarks.courses`). pyoperon computes in float32; `refitted` is what is exact once constants are fitted again
in float64, by us and in no time, whatever the method.

Everyone searches on the same 1,000 rows: our searches look at no more than that at first, the others at all, so
that the published 10,000 would only slow these. `train_rows=10000` gives them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, decimals, failures, good, group, median
from benchmarks.srbench import EXACT_NRMSE, SAMPLE, sample
from benchmarks.suites import Suite
from datamodules.tables.problems import Problem, draw_tables, problem, suite, suites
from datamodules.tables.table import Table
from expressions.expression import Expression

if TYPE_CHECKING:
    from benchmarks.peers import Data

METHODS = ("auto", "regression", "genetic_programming", "pyoperon", "gplearn")
BUDGETS = (0.3, 1.0, 3.0, 10.0, 30.0)
SETS = {"Feynman": "feynman_119", "Strogatz": "strogatz"}
_WARM_UP_SECONDS = 0.5
_PUNCTUAL = 1.1  # of a budget, within which a run must be over to count for it
_FIT_STEPS = 20  # of constants that a method left in float32
_UNDEFINED = 1e30  # error of an equation that is not finite on a fresh row, which JSON holds


def run(cell: Cell) -> dict[str, Any]:
    """What stands after every budget, by its text such as `0.3`; a budget without an answer is left out."""
    posed = problem(cell.problem)
    rows = int(cell.settings["train_rows"]) or None
    tables = draw_tables(posed, train_rows=min(rows, posed.train_rows) if rows else None, seed=cell.seed)
    judge = _Judge(posed, tables["train"], tables["test"])
    answers = _of_a_peer if cell.method in ("pyoperon", "gplearn") else _of_ours
    return {"budgets": answers(cell, judge), "variables": len(posed.variables)}


def budgets(settings: Settings) -> list[float]:
    """Those of `BUDGETS` that are below the longest, and the longest, in CPU-seconds."""
    longest = float(settings["seconds"])
    return [*(budget for budget in BUDGETS if budget < longest), longest]


# --- runs ---------------------------------------------------------------------------------------------------


def _of_ours(cell: Cell, judge: _Judge) -> dict[str, dict[str, Any]]:
    """A run for every budget, until one of them says that it is exact."""
    from benchmarks.own_searches import prepare
    from benchmarks.peers import Data, fit
    from benchmarks.processor_clock import count_processor_seconds, helpers_seconds

    prepare(cell.method, seconds=0.0)
    count_processor_seconds()
    fit(cell.method, _warm_up(), {**cell.settings, "seconds": _WARM_UP_SECONDS}, cell.seed)
    inputs, target = judge.train
    data = Data(inputs, target, inputs, target)
    found: dict[str, dict[str, Any]] = {}
    last: dict[str, Any] | None = None
    for budget in budgets(cell.settings):
        if last is None or last["stopped"] != "exact":
            before = helpers_seconds()
            fitted = fit(cell.method, data, {**cell.settings, "seconds": budget}, cell.seed)
            helped = helpers_seconds() - before
            last = judge(fitted.chosen.expression, fitted.chosen.predict, fitted.cpu_seconds)
            last |= {"stopped": fitted.stopped, "sympy_seconds": helped}
        found[f"{budget:g}"] = last
    return found


def _of_a_peer(cell: Cell, judge: _Judge) -> dict[str, dict[str, Any]]:
    """One run, of which the answers after every budget are judged."""
    from benchmarks.courses import PEERS, Course
    from benchmarks.peers import Data

    module, search = PEERS[cell.method]
    importlib.import_module(module)
    search(_warm_up(), cell.settings, cell.seed, Course(_WARM_UP_SECONDS, lambda answer: False))
    inputs, target = judge.train
    longest = float(cell.settings["seconds"])
    course = Course(longest, lambda answer: judge.nmse(answer.predict) < EXACT_NRMSE**2)
    search(Data(inputs, target, inputs, target), cell.settings, cell.seed, course)
    found: dict[str, dict[str, Any]] = {}
    judged: dict[float, dict[str, Any]] = {}
    for budget in budgets(cell.settings):
        answer = course.after(budget)
        if answer is not None:
            if answer.seconds not in judged:
                judged[answer.seconds] = judge(answer.expression, answer.predict, answer.seconds)
            found[f"{budget:g}"] = judged[answer.seconds]
    return found


def _warm_up() -> Data:
    """A small table without a law, for a run before the clock starts: what is imported late is so by then."""
    from benchmarks.peers import Data

    rng = np.random.default_rng(0)
    inputs, target = rng.normal(size=(40, 2)), rng.normal(size=40)
    return Data(inputs, target, inputs, target)


@dataclass(frozen=True)
class _Judge:
    """What an equation is worth on fresh rows, and whether it is the true one."""

    posed: Problem
    train_table: Table
    test_table: Table

    @property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and target to search on."""
        return _rows(self.train_table)

    def nmse(self, predict: Callable[[np.ndarray], np.ndarray]) -> float:
        """Normalised squared error on the fresh rows."""
        from expressions.goodness_of_fit import nmse

        inputs, target = _rows(self.test_table)
        with np.errstate(all="ignore"):
            error = float(nmse(target, np.broadcast_to(predict(inputs), target.shape)))
        return min(error, _UNDEFINED) if np.isfinite(error) else _UNDEFINED

    def __call__(self, found: Expression, predict: Any, seconds: float) -> dict[str, Any]:
        """Everything about an answer."""
        from expressions.complexity import complexity
        from expressions.constant_fitting import fit_constants
        from expressions.equivalence import recovered

        error = self.nmse(predict)
        exact = refitted = error < EXACT_NRMSE**2
        if not exact:
            [again] = fit_constants([found], *self.train, iterations=_FIT_STEPS).expressions
            refitted = self.nmse(again) < EXACT_NRMSE**2
        return {
            "nmse": error,
            "exact": exact,
            "refitted": refitted,
            "recovered": bool(recovered(found, self.posed.truth)),
            "size": complexity(found),
            "infix": found.infix(self.posed.variables),
            "cpu_seconds": seconds,
            "sympy_seconds": 0.0,
            "stopped": "",
        }


def _rows(table: Table) -> tuple[np.ndarray, np.ndarray]:
    assert table.target is not None
    return table.inputs, table.target


# --- table and figure ---------------------------------------------------------------------------------------


def report(records: Sequence[Record]) -> Report:
    """A table for each set of problems, a row a method and budget."""
    grids = []
    for name in SETS:
        rows = []
        for method, found in group(_of_set(records, name), lambda record: record.cell.method).items():
            rows += [_row(method, found, budget) for budget in _budgets(found)]
        grids.append(Grid(f"Found by CPU-seconds, {name}", ["method", *_HEADINGS], rows))
    return Report(grids, [_NOTE, *failures(records)])


_HEADINGS = ["n", "exact", "refitted", "recovered", "R2 > .999", "nodes", "CPU s", "CPU s, 95 %", "SymPy s"]
_NOTE = (
    "exact: NRMSE below 1e-6 on fresh rows, in float64; refitted: the same once constants are fitted again in "
    "float64; recovered: SRBench's symbolic solution. A failed cell, and no answer yet, is none of these. nodes: "
    "median of the exact ones. CPU s: work until the run with that budget returned (pyoperon and gplearn: until "
    "the answer stood), imports and the load of the map left out; SymPy s: work of its process; medians."
)


def _of_set(records: Sequence[Record], name: str) -> list[Record]:
    return [record for record in records if record.cell.problem in suite(SETS[name])]


def _budgets(found: Sequence[Record]) -> list[float]:
    return budgets(found[0].cell.settings)


def _answers(found: Sequence[Record], budget: float) -> list[dict[str, Any]]:
    """What stood after so many CPU-seconds, where anything did."""
    standing = (_standing(record.result["budgets"], budget) for record in good(found))
    return [answer for answer in standing if answer is not None]


def _standing(answers: Mapping[str, dict[str, Any]], budget: float) -> dict[str, Any] | None:
    """The answer of the longest run that was over by then, whatever its own budget was; None: none was."""
    over = [key for key in answers if answers[key]["cpu_seconds"] <= _PUNCTUAL * budget and float(key) <= budget]
    return answers[max(over, key=float)] if over else None


def _share(found: Sequence[Record], budget: float, what: str) -> float:
    """Share of the cells, in per cent."""
    return 100 * sum(answer[what] for answer in _answers(found, budget)) / len(found)


def _row(method: str, found: Sequence[Record], budget: float) -> list[str]:
    answers = _answers(found, budget)
    seconds = [answer["cpu_seconds"] for answer in answers]
    accurate = sum(answer["nmse"] < 1e-3 for answer in answers)
    return [
        f"{method}, {budget:g} s",
        str(len(found)),
        *(f"{_share(found, budget, what):.1f} %" for what in ("exact", "refitted", "recovered")),
        f"{100 * accurate / len(found):.1f} %",
        decimals(median(answer["size"] for answer in answers if answer["exact"]), 0),
        decimals(median(seconds), 2),
        decimals(float(np.quantile(seconds, 0.95)) if seconds else None, 2),
        decimals(median(answer["sympy_seconds"] for answer in answers), 2),
    ]


def draw(records: Sequence[Record], out: Path) -> list[Path]:
    """The curve: the share that is exact, and that is recovered, over CPU-seconds."""
    from reports.shares import shares_over_seconds

    if not records:
        return []
    curves = {
        what: {
            method: _curve(found, what)
            for method, found in group(records, lambda record: record.cell.method).items()
        }
        for what in ("exact", "recovered")
    }
    title = f"SRBench's {sum(len(suite(name)) for name in SETS.values())} problems with a ground truth, no noise"
    return [shares_over_seconds(curves, out / "curve.png", title)]


def _curve(found: Sequence[Record], what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Budgets, and the mean, lowest and highest share of the seeds. Four times `[budgets]`"""
    by_seed = group(found, lambda record: record.cell.seed).values()
    seconds = _budgets(found)
    shares = np.array([[_share(of_seed, budget, what) for budget in seconds] for of_seed in by_seed])
    return np.array(seconds), shares.mean(axis=0), shares.min(axis=0), shares.max(axis=0)


def _words(word: str) -> tuple[str, ...]:
    """The problems that a word stands for: `sample44`, that of `srbench`; a suite; or a problem."""
    if word == f"sample{SAMPLE}":
        return sample()
    return suite(word) if word in suites() else (word,)


def _names(settings: Settings) -> list[str]:
    return [name for word in SETS.values() for name in suite(word)]


SUITE = Suite(
    name="curve",
    summary="how many of SRBench's problems with a ground truth are found by how many CPU-seconds",
    methods=METHODS,
    seeds=(1,),
    settings={
        "seconds": 30.0,
        "train_rows": 1000,
        "weights": "pretrained",
        "pyoperon_length": 50,
        "pyoperon_iterations": 5,
        "pyoperon_population": 500,
    },
    problems=_names,
    estimate=lambda cell: 10.0 + float(cell.settings["seconds"]),
    run=run,
    report=report,
    defaults=("auto", "pyoperon", "gplearn"),
    draw=draw,
    expand=_words,
)
