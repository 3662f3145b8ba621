"""Equations for every output of a block: one search after the other, which begin with what was found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from searches.pareto_front import Candidate, ParetoFront, pick
from searches.portfolio import PortfolioSettings, Progress, search

__all__ = ["Front", "Table", "search_outputs"]

_CONSTANT = 1e-7
"""Spread of an output, relative to its size, below which it is a constant up to the rounding of float32."""
_ENOUGH = 1e-7
"""Error below which a network's equation is as good as its own rounding allows."""
_NEAR = 1e-5  # error from which on more time is given once: what is shorter may still come
_CHOOSES = 4  # one row in so many chooses between equations, and is not fitted to
_LEAST_SECONDS = 0.2
_MOST_SEEDS = 40


@dataclass(frozen=True)
class Table:
    """The rows of a block.

    Attributes:
        inputs: rows to search on. `[rows, features]`
        outputs: outputs there. `[rows, outputs]`
        judge_inputs: rows of other batches, which judge. `[judge rows, features]`
        judge_outputs: outputs there. `[judge rows, outputs]`
    """

    inputs: np.ndarray
    outputs: np.ndarray
    judge_inputs: np.ndarray
    judge_outputs: np.ndarray


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
    on_output: Callable[[int, Front], None] | None = None,
) -> list[Front]:
    """Search for equations of all outputs, with one budget for all of them.

    What one search does not need is left to those that follow, and what it has found is where they begin.

    Args:
        table: rows of the block.
        settings: settings of a search; its budget is replaced.
        seconds: budget by the clock of all searches together.
        seed: random seed.
        workers: number of processes of a search.
        seeds: equations to begin with.
        on_output: function that is called with the number of an output and its equations.
    """
    ends = time.perf_counter() + seconds
    known = list(seeds)
    fronts: list[Front] = []
    for place in range(table.outputs.shape[1]):
        left = (ends - time.perf_counter()) / (table.outputs.shape[1] - place)
        front = _searched(table, place, settings, max(left, _LEAST_SECONDS), seed, workers, known)
        fronts.append(front)
        known = [*(each.expression for each in front.candidates), *known][:_MOST_SEEDS]
        if on_output is not None:
            on_output(place, front)
    return fronts


def _searched(
    table: Table,
    place: int,
    settings: PortfolioSettings,
    seconds: float,
    seed: int,
    workers: int,
    seeds: Sequence[Expression],
) -> Front:
    begun = time.perf_counter()
    target = table.outputs[:, place]
    if np.ptp(target) <= _CONSTANT * np.abs(target).max():
        found = [Expression.constant(float(np.float32(target.mean())))]
    else:
        found = [each.expression for each in _found(table, target, settings, seconds, seed, workers, seeds)]
    return Front(tuple(judged(found, table, place)), time.perf_counter() - begun)


def judged(equations: Sequence[Expression], table: Table, place: int) -> ParetoFront:
    """The Pareto front of equations by their errors on the rows that judge.

    Args:
        equations: equations of one output.
        table: rows of the block.
        place: number of the output.
    """
    candidates = [
        Candidate(
            each,
            complexity(each),
            _error(table.outputs[:, place], each, table.inputs),
            _error(table.judge_outputs[:, place], each, table.judge_inputs),
        )
        for each in dict.fromkeys(equations)
    ]
    front = ParetoFront.of(candidates)
    return front if len(front) else ParetoFront([_mean(table, place)])


def _mean(table: Table, place: int) -> Candidate:
    """The mean, which is finite wherever the others are not."""
    equation = Expression.constant(float(table.outputs[:, place].mean()))
    return Candidate(equation, 1, 1.0, 1.0)


def _error(target: np.ndarray, equation: Expression, inputs: np.ndarray) -> float:
    """Error over the variance; of a target that hardly varies, over its square."""
    with np.errstate(all="ignore"):
        values = np.broadcast_to(equation(inputs), len(inputs))
        if np.ptp(target) <= _CONSTANT * np.abs(target).max():
            size = float(np.square(target).mean()) or 1.0
            return float(np.nan_to_num(np.square(values - target).mean() / size, nan=np.inf))
        return nmse(target, values)


def _found(
    table: Table,
    target: np.ndarray,
    settings: PortfolioSettings,
    seconds: float,
    seed: int,
    workers: int,
    seeds: Sequence[Expression],
) -> ParetoFront:
    """The front of one search."""
    chooses = np.arange(len(target)) % _CHOOSES == _CHOOSES - 1
    if len(target) < 10 * _CHOOSES or np.ptp(target[chooses]) == 0 or np.ptp(target[~chooses]) == 0:
        chooses = np.zeros(len(target), dtype=bool)
    watch = _Watch()
    result = search(
        table.inputs[~chooses],
        target[~chooses],
        replace(settings, seconds=seconds),
        seed=seed,
        validation=(table.inputs[chooses], target[chooses]) if chooses.any() else None,
        seeds=seeds,
        workers=workers,
        on_progress=watch.see,
        should_stop=watch.is_enough,
    )
    return result.front


class _Watch:
    """Ends a search when it has an equation as good as a network's rounding allows, or soon after a good one."""

    def __init__(self) -> None:
        self._since = math.inf
        self._begun = time.perf_counter()
        self._enough = False

    def see(self, progress: Progress) -> None:
        """Look at how far a search is."""
        if not len(progress.front):
            return
        error = pick(progress.front).error
        now = time.perf_counter()
        if error < _NEAR:
            self._since = min(self._since, now)
        self._enough = error < _ENOUGH or now - self._since > 1.0 + (self._since - self._begun)

    def is_enough(self) -> bool:
        """Whether the search may end."""
        return self._enough
