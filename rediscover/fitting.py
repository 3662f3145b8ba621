"""Equations for one target of a table in memory: what `discover` and `SymbolicRegressor` do.

A quarter of the rows chooses between the equations that a search finds on the others. What was found is then
fitted once more to all rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from modules.pretrained import CVAE_SMALL
from searches.common.checked_rows import checked_rows, checked_weights
from searches.common.regression_task import RegressionTask
from searches.common.shifted_columns import ShiftedColumns
from searches.common.shorter_codes import is_plain
from searches.latent_space.equation_map import MapFile
from searches.pareto_front import Candidate, ParetoFront, pick
from searches.portfolio import PortfolioSettings, Progress, search
from searches.portfolio_members.robust import outlying_weights
from searches.search_result import SearchResult

__all__ = ["explain", "packaged_map"]

_ROWS_TO_CHOOSE = 40  # of a table, from which on some of them only choose
_SHARE_TO_CHOOSE = 0.25
_STEPS = 5  # of the fit to all rows
_LEAST_SECONDS = 0.05  # for a search, however long the split has taken
_CELLS_AT_ONCE = 40_000  # rows times equations of a batch of the fit to all rows
_REFIT_SECONDS_A_ROW = 5e-6  # that the fit of a front to all rows takes
_MOST_ROWS = 20_000  # beyond which a quarter more rows change no digit that is shown
_MAP_CLASS = "modules.networks.equation_map.latent_map.LatentMap"


def packaged_map() -> MapFile | None:
    """The map of equations that comes with the package; None where it is not installed."""
    return MapFile(str(CVAE_SMALL), _MAP_CLASS, "packaged") if CVAE_SMALL.is_file() else None


def explain(
    inputs: np.ndarray,
    target: np.ndarray,
    settings: PortfolioSettings | None = None,
    *,
    seed: int,
    weights: np.ndarray | None = None,
    seeds: Sequence[Expression] = (),
    workers: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search for equations of a target, and fit them to all rows.

    Args:
        inputs: finite values of the columns. `[rows, columns]`
        target: finite values, not all equal. `[rows]`
        settings: settings of the search; the defaults when not given.
        seed: random seed for the split and the search.
        weights: weights of the rows' squared errors, none negative; None: all alike. `[rows]`
        seeds: equations to start from.
        workers: number of processes.
        on_progress: function that is called some five times a second, see `searches.portfolio.search`.
        should_stop: function that says every now and then whether to end.

    Returns:
        The result, whose equations are fitted to all rows. Of each candidate `train_nmse` is the error on the rows
        that the search looked at, `validation_nmse` that on the rows that chose.

    Raises:
        ValueError: the data cannot be searched, see `searches.portfolio.search`.
    """
    begun = time.perf_counter()
    settings = settings or PortfolioSettings()
    inputs, target = checked_rows(inputs, target, "training")
    if weights is not None:
        weights = checked_weights(weights, target)
    train, chooses = _split(target, weights, seed)
    searched, held_out = inputs[train], inputs[chooses]  # copies, which take a second where there are many columns
    ends = None if settings.seconds is None else begun + settings.seconds
    refits = len(chooses) > 0 and len(target) <= _MOST_ROWS
    if ends is not None:
        left = ends - time.perf_counter() - refits * _REFIT_SECONDS_A_ROW * len(target)
        settings = replace(settings, seconds=max(left, _LEAST_SECONDS))
    result = search(
        searched,
        target[train],
        settings,
        seed=seed,
        validation=(held_out, target[chooses]) if len(chooses) else None,
        weights=None if weights is None else weights[train],
        validation_weights=None if weights is None or not len(chooses) else weights[chooses],
        seeds=seeds,
        workers=workers,
        latent_map=packaged_map(),
        on_progress=on_progress,
        should_stop=should_stop,
    )
    if not refits:
        return result
    if settings.loss == "huber" and len(result.front):
        weights = outlying_weights(result.best.expression, inputs, target, weights)
    task = RegressionTask(
        searched,
        target[train],
        validation=(held_out, target[chooses]),
        weights=None if weights is None else weights[train],
        validation_weights=None if weights is None else weights[chooses],
    )
    return replace(result, front=_fitted_to_all(result.front, inputs, target, weights, task, ends))


def _split(target: np.ndarray, weights: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to search on, and rows to choose by, both in the table's order; none of these where rows are few."""
    rows = len(target)
    counted = rows if weights is None else int(np.count_nonzero(weights))
    if counted < _ROWS_TO_CHOOSE:
        return np.arange(rows), np.arange(0)
    order = np.random.default_rng([seed, rows]).permutation(rows)
    train, chooses = (np.sort(part) for part in np.split(order, [rows - round(_SHARE_TO_CHOOSE * rows)]))
    counts = target[train] if weights is None else target[train][weights[train] > 0]
    if not len(counts) or counts.min() == counts.max():  # a target that hardly varies: every row is needed
        return np.arange(rows), np.arange(0)
    return train, chooses


def _fitted_to_all(
    front: ParetoFront,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    task: RegressionTask,
    ends: float | None,
) -> ParetoFront:
    """The front with the constants that fit all rows best; whole numbers and halves stay where the code says so.

    What is exact stays as it is, and so does what there is no time for; the equation that is picked comes first.

    Args:
        front: front of the search.
        inputs: values of the columns. `[rows, columns]`
        target: values to fit to. `[rows]`
        weights: weights of the rows' squared errors; None: all alike. `[rows]`
        task: rows that judge the equations.
        ends: time by `time.perf_counter` at which the last fit must be over; None: no limit.
    """
    inexact = [candidate for candidate in front if not candidate.exact]
    picked = pick(front) if len(front) else None
    inexact.sort(key=lambda candidate: candidate is not picked)
    together = max(1, _CELLS_AT_ONCE // len(target))  # small tables are fitted fastest in one batch
    shift = ShiftedColumns.of(inputs)
    refitted: list[Candidate] = []
    while len(refitted) < len(inexact) and (ends is None or time.perf_counter() < ends):
        part = inexact[len(refitted) : len(refitted) + together]
        equations = [candidate.expression for candidate in part]
        centres = [_centres(equation, shift) for equation in equations]
        plain = [is_plain(equation.constants) for equation in equations]
        fits = []
        for fixed in (centres, [one | other for one, other in zip(centres, plain, strict=True)]):
            fitted = fit_constants(equations, inputs, target, iterations=_STEPS, weights=weights, fixed=fixed)
            fits.append(fitted.expressions)
        for candidate, *forms in zip(part, *fits, strict=True):
            scored = [task.charged(task.judge(form, candidate.complexity)) for form in forms]
            refitted.append(min(scored, key=lambda each: each.code))
    return ParetoFront.of([*_exact(front), *refitted, *inexact[len(refitted) :]])


def _centres(equation: Expression, shift: ShiftedColumns) -> np.ndarray:
    """Which constants are the centres of columns far from 0. `[constants]` bool"""
    return shift.are_centres(equation) if shift else np.zeros(len(equation.constants), dtype=bool)


def _exact(front: ParetoFront) -> list[Candidate]:
    return [candidate for candidate in front if candidate.exact]
