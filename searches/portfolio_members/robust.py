"""A search whose rows weigh what Huber's loss says: a short one first, which shows what the outliers are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from expressions.expression import Expression
from searches.common.robust_weights import first_weights, huber_weights
from searches.portfolio_members.settings import PortfolioSettings
from searches.search_result import SearchResult

__all__ = ["outlying_weights", "robustly_searched"]

_FIRST_SHARE = 0.4  # of the budget

Part = Callable[[PortfolioSettings, np.ndarray, np.ndarray | None, Sequence[Expression]], SearchResult]
"""A search by squares: settings, weights of the rows and of the held-out ones, and equations to start from."""


def outlying_weights(
    equation: Expression, inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """What rows weigh by Huber's loss, given an equation of them: their own weights, less for outliers. `[rows]`

    Args:
        equation: equation of the columns.
        inputs: values of the columns. `[rows, columns]`
        target: values of the target. `[rows]`
        weights: weights of the rows' squared errors; None: all alike. `[rows]`
    """
    own = np.ones(len(target)) if weights is None else weights
    with np.errstate(all="ignore"):
        residuals = (target - equation(inputs)) * np.sqrt(own)
    return own * huber_weights(residuals, float(np.abs(target).max()) * float(np.sqrt(own.max())))


def robustly_searched(
    part: Part,
    inputs: np.ndarray,
    target: np.ndarray,
    settings: PortfolioSettings,
    validation: tuple[np.ndarray, np.ndarray] | None,
    weights: np.ndarray | None,
    validation_weights: np.ndarray | None,
    seeds: Sequence[Expression],
) -> SearchResult:
    """Search twice, each time with rows that weigh what the last equation makes of them.

    Args:
        part: search by squares.
        inputs: values of the variables. `[rows, variables]`
        target: values of the target. `[rows]`
        settings: settings of both searches together.
        validation: held-out rows; None: there are none.
        weights: weights of the rows' squared errors; None: all alike. `[rows]`
        validation_weights: the same for the held-out rows. `[validation rows]`
        seeds: equations to start from.

    Returns:
        The result of the later search, or of the first one where that was interrupted.
    """
    begun = time.perf_counter()
    own = [weights, validation_weights]
    tables = [(inputs, target), *([] if validation is None else [validation])]
    everything = first_weights(*(np.concatenate(part_) for part_ in zip(*tables, strict=True)))
    firsts = np.split(everything, [len(target)])
    now = [first if known is None else first * known for first, known in zip(firsts, own, strict=True)]
    first = part(_shared(settings, _FIRST_SHARE, 0.0), now[0], None if validation is None else now[1], seeds)
    if first.stopped == "interrupted" or not len(first.front):
        return first
    now = [outlying_weights(first.best.expression, *rows, known) for rows, known in zip(tables, own, strict=False)]
    found = [candidate.expression for candidate in first.front]
    left = _shared(settings, 1.0 - _FIRST_SHARE, time.perf_counter() - begun)
    later = part(left, now[0], None if validation is None else now[1], [*seeds, *found])
    outliers = sum(int(np.count_nonzero(each == 0.0)) for each in now)
    note = f"{outliers} of {sum(map(len, now))} rows are outliers, which counted nothing"
    return replace(
        later,
        seconds=time.perf_counter() - begun,
        evaluations=first.evaluations + later.evaluations,
        notes=(*later.notes, note),
    )


def _shared(settings: PortfolioSettings, share: float, spent: float) -> PortfolioSettings:
    """Settings of a search by squares with its share of the budget, or all that is left once time was spent."""
    seconds, evaluations = settings.seconds, settings.evaluations
    if seconds is not None:
        seconds = max(seconds - spent, 1e-3) if spent else share * seconds
    if evaluations is not None:
        evaluations = max(1, round(share * evaluations))
    return replace(settings, loss="squares", seconds=seconds, evaluations=evaluations)
