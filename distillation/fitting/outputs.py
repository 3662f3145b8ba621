"""Equations for every output of a block: one search after the other, which begin with what was found before.

Outputs that are mixtures of few factors are searched in `distillation.fitting.factors`.
"""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cloudpickle
import numpy as np

from distillation.choosing.description import described_order
from distillation.fitting.one_search import ENOUGH, Effort, searched
from distillation.fitting.table import Table
from distillation.fitting.tidying import NOT_WORSE, tidied
from distillation.questions.answers import Answers
from distillation.splitting import SplitSearch
from expressions.complexity import complexity
from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.operators import FIRST_VARIABLE
from searches.common.parallel import run_jobs
from searches.pareto_front import Candidate, ParetoFront
from searches.portfolio import PortfolioSettings

__all__ = ["Front", "error_of", "judged", "pickled", "search_output", "search_outputs"]

_CONSTANT = 1e-7
"""Spread of an output, relative to its size, below which it is a constant up to the rounding of float32."""
_PATIENCE = 0.5  # share of the time of a search, after which a good equation is enough if others wait
_LEAST_SECONDS = 0.3
"""Time below which no search is begun: a straight line, and what is known, are all."""
_LEAST_TO_SPLIT = 4.0  # seconds of an output, below which it is searched as a whole
_STABLE, _STABLE_ROWS = 1e-9, 500  # squared error of rounding, relative to the values, that is allowed, and where
_MOST_SEEDS = 40
_TIDY_SHARE = 0.15  # of the time of an output, to make its equations shorter and rounder
_SPLIT_SHARE = 0.6  # of the time of an output, for searches of the parts into which the network falls
_PART_SHARE = 0.35  # of the time that is left for parts, for the next one
_OFFERED = 5  # equations of a part


@dataclass(frozen=True)
class Front:
    """Equations of one output.

    Attributes:
        candidates: equations of which none is both shorter and more accurate than another, the shortest first;
            `validation_nmse` is the error on the rows that judge.
        seconds: time of its search.
    """

    candidates: tuple[Candidate, ...]
    seconds: float

    @property
    def best(self) -> Candidate:
        """The most accurate equation."""
        return min(self.candidates, key=lambda each: each.error)


def search_outputs(
    table: Table,
    settings: PortfolioSettings,
    *,
    seconds: float,
    seed: int,
    workers: int = 1,
    seeds: Sequence[Expression] = (),
    answers: Answers | None = None,
) -> list[Front]:
    """Search for equations of all outputs, with one budget for all of them.

    What one search does not need is left to those that follow, and what it has found is where they begin. Several
    processes have every so manieth output each; one output has them all.

    Args:
        table: rows of the block.
        settings: settings of a search; its budget is replaced.
        seconds: budget by the clock of all searches together.
        seed: random seed.
        workers: number of processes.
        seeds: equations to begin with.
        answers: what the network says of all outputs at once; None: it is not asked.
    """
    count = table.outputs.shape[1]
    effort = Effort(settings, seconds, seed, workers)
    if workers == 1 or count == 1:
        return _in_turn(table, range(count), effort, seeds, answers)
    parts = [list(range(first, count, workers)) for first in range(min(workers, count))]
    given = {"table": table, "effort": (settings, seconds, seed), "seeds": tuple(seeds)}
    jobs = [{**given, "places": part, "pickled": pickled(answers)} for part in parts]
    found: dict[int, Front] = {}
    for part, fronts in zip(parts, run_jobs(_job, jobs, workers, lambda number, content: None), strict=True):
        found.update(zip(part, fronts or (), strict=True))
    return [found[place] for place in range(count)]


def pickled(answers: Answers | None) -> bytes | None:
    """What answers, for another process of ours; None where it cannot be sent: then it is not asked there."""
    try:
        return None if answers is None else cloudpickle.dumps(answers)
    except Exception:  # whatever a network's classes raise
        return None


def _job(
    *,
    report: Any,
    should_stop: Callable[[], bool],
    pickled: bytes | None,
    effort: tuple[PortfolioSettings, float, int],
    **given: Any,
) -> list[Front]:
    """Part of the outputs, in a process of its own."""
    return _in_turn(**given, effort=Effort(*effort), answers=None if pickled is None else pickle.loads(pickled))


def _in_turn(
    table: Table, places: Sequence[int], effort: Effort, seeds: Sequence[Expression], answers: Answers | None
) -> list[Front]:
    """The outputs of these numbers, one after the other."""
    ends = time.perf_counter() + effort.seconds
    known = list(seeds)
    fronts: list[Front] = []
    patience = 1.0 if len(places) == 1 else _PATIENCE
    for number, place in enumerate(places):
        left = (ends - time.perf_counter()) / (len(places) - number)
        asked = None if answers is None else (answers, place)
        front = search_output(table.output(place), replace(effort, seconds=left, patience=patience), known, asked)
        fronts.append(front)
        known = [*(each.expression for each in front.candidates), *known][:_MOST_SEEDS]
    return fronts


def search_output(
    table: Table, effort: Effort, seeds: Sequence[Expression] = (), asked: tuple[Answers, int] | None = None
) -> Front:
    """Search for equations of the table's only output.

    Args:
        table: rows of the output.
        effort: what all of it may cost.
        seeds: equations to begin with.
        asked: what the network says, and the number of the output in it; None: it is not asked.
    """
    begun = time.perf_counter()
    target, seconds = table.outputs[:, 0], effort.seconds
    if np.ptp(target) <= _CONSTANT * np.abs(target).max():
        constant = Expression.constant(float(np.float32(target.mean())))
        return Front(tuple(judged([constant], table)), time.perf_counter() - begun)
    if seconds < _LEAST_SECONDS:
        return Front(tuple(judged([*seeds, _line(table)], table)), time.perf_counter() - begun)
    parts: list[Expression] = []
    if asked is not None and seconds >= _LEAST_TO_SPLIT and judged(seeds, table)[-1].error > ENOUGH:
        parts = _of_parts(table, replace(effort, seconds=_SPLIT_SHARE * seconds), *asked)
    found = [*parts, *seeds]
    if judged(found, table)[-1].error > ENOUGH and not effort.course.should_stop():
        left = begun + (1.0 - _TIDY_SHARE) * seconds - time.perf_counter()
        whole = replace(effort, seconds=max(left, _LEAST_SECONDS))
        found = [*parts, *_of_whole(table, whole, found)]
    left = seconds - (time.perf_counter() - begun)
    found = _with_tidy(found, table, left, effort.settings.simplify_seconds > 0)
    return Front(tuple(judged(found, table)), time.perf_counter() - begun)


def _line(table: Table) -> Expression:
    """The straight line through an output, of the features that it depends on."""
    columns = list(range(table.inputs.shape[1]) if table.columns is None else table.columns[0])
    design = np.column_stack([table.inputs[:, columns], np.ones(len(table.inputs))])
    weights = np.linalg.lstsq(design, table.outputs[:, 0])[0].tolist()
    terms = [
        Expression.apply("mul", Expression.constant(weight), Expression.variable(column))
        for weight, column in zip(weights, columns, strict=False)
    ]
    return Expression.joined("add", [*terms, Expression.constant(weights[-1])])


def _of_parts(table: Table, effort: Effort, answers: Answers, place: int) -> list[Expression]:
    """Equations of an output that falls into parts, each of which is searched by itself; else none."""
    ends = time.perf_counter() + effort.seconds

    def search_part(inputs: np.ndarray, target: np.ndarray) -> list[Expression]:
        left = _PART_SHARE * (ends - time.perf_counter())
        if left < _LEAST_SECONDS or effort.course.should_stop():
            return []
        part = Table(inputs, target[:, None], inputs, target[:, None])
        own = replace(effort, seconds=left, workers=1, patience=_PATIENCE)
        front = judged([each.expression for each in searched(part, own, is_part=True)], part)
        return [each.expression for each in described_order(list(front))[:_OFFERED]]

    try:
        return SplitSearch(answers, place, search_part, effort.seed).equations(table.inputs)
    except ValueError:  # of a part whose values cannot be searched
        return []


def _of_whole(table: Table, effort: Effort, seeds: Sequence[Expression]) -> list[Expression]:
    """Equations of an output, searched with the inputs that it depends on."""
    columns = list(range(table.inputs.shape[1]) if table.columns is None else table.columns[0])
    own = replace(
        table, inputs=table.inputs[:, columns], judge_inputs=table.judge_inputs[:, columns], columns=None
    )
    places = {column: k for k, column in enumerate(columns)}
    taken = [_renamed(each, places) for each in seeds if set(each.variables) <= set(columns)]
    return [_renamed(each.expression, dict(enumerate(columns))) for each in searched(own, effort, taken)]


def _renamed(equation: Expression, names: dict[int, int]) -> Expression:
    """The equation with other variables."""
    tokens = equation.tokens.copy()
    for place in np.flatnonzero(tokens >= FIRST_VARIABLE).tolist():
        tokens[place] = FIRST_VARIABLE + names[int(tokens[place]) - FIRST_VARIABLE]
    return Expression(tokens, equation.constants)


# --- what was found ---------------------------------------------------------------------------------------------


def _with_tidy(
    equations: Sequence[Expression], table: Table, seconds: float, simplifies: bool
) -> list[Expression]:
    """The equations, of which some are replaced by their tidy forms, and those left out that are hardly better."""
    candidates = list(judged(equations, table))
    forms = tidied(candidates, table.inputs, table.outputs[:, 0], seconds, simplifies=simplifies)
    replaced = {own for own, _ in forms}
    tidy = list(judged([form for _, form in forms], table)) if forms else []

    def is_better(candidate: Candidate) -> bool:
        return candidate not in replaced and all(
            candidate.complexity < each.complexity or NOT_WORSE * candidate.error < each.error for each in tidy
        )

    return [each.expression for each in (*tidy, *filter(is_better, candidates))]


def judged(equations: Sequence[Expression], table: Table, place: int = 0) -> ParetoFront:
    """The Pareto front of equations of an output; the mean alone where none is finite on all rows.

    Args:
        equations: equations of one output.
        table: rows of the block.
        place: number of the output.
    """
    candidates = [
        Candidate(
            each,
            complexity(each),
            error_of(table.outputs[:, place], each, table.inputs),
            error_of(table.judge_outputs[:, place], each, table.judge_inputs),
        )
        for each in dict.fromkeys(equations)
    ]
    front = ParetoFront.of(filter(partial(_is_stable, inputs=table.judge_inputs), candidates))
    return front if len(front) else ParetoFront([_mean(table, place)])


def _is_stable(candidate: Candidate, inputs: np.ndarray) -> bool:
    """Whether an equation has its values in float32, too: large terms that cancel do not."""
    if not math.isfinite(candidate.error):
        return False
    some = inputs[:_STABLE_ROWS]
    with np.errstate(all="ignore"):
        exact = np.broadcast_to(candidate.expression(some), len(some))
        [single] = Evaluator(some, np.float32).values([candidate.expression])
        apart = np.square(single.astype(np.float64) - exact).mean()
    return bool(apart <= (_STABLE + candidate.error) * max(float(np.square(exact).mean()), 1e-300))


def _mean(table: Table, place: int) -> Candidate:
    equation = Expression.constant(float(table.outputs[:, place].mean()))
    return Candidate(equation, 1, 1.0, 1.0)


def error_of(target: np.ndarray, equation: Expression, inputs: np.ndarray) -> float:
    """Mean squared error over the variance of the target; of a target that hardly varies, over its square.

    Args:
        target: values of an output. `[rows]`
        equation: its equation.
        inputs: rows of the block's inputs. `[rows, features]`
    """
    with np.errstate(all="ignore"):
        values = np.broadcast_to(equation(inputs), len(inputs))
        if np.ptp(target) <= _CONSTANT * np.abs(target).max():
            size = float(np.square(target).mean()) or 1.0
            return float(np.nan_to_num(np.square(values - target).mean() / size, nan=np.inf))
        return nmse(target, values)
