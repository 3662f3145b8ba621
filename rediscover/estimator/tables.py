"""The tables and the page that a notebook shows of a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from expressions.complexity import complexity
from expressions.constant_fitting import fit_constants
from expressions.constant_intervals import ConstantIntervals
from expressions.constant_rounding import readable
from expressions.expression import Expression
from expressions.interval_text import resolved
from rediscover.estimator.target_fit import TargetFit, mean_square
from reports.typeset.mathml import mathml

__all__ = ["equations_table", "formulas_page", "score_table"]

_STEPS = 30  # of the fit of a formula that somebody else wrote


def equations_table(fits: Sequence[TargetFit], names: Sequence[str]) -> pd.DataFrame:
    """All equations of all targets, a row each, as `SymbolicRegressor.equations_` describes it.

    Args:
        fits: what was found for every target.
        names: names of the features in equations.
    """
    rows = [
        {
            **({"target": fit.name} if len(fits) > 1 else {}),
            "picked": place == fit.chosen,
            "complexity": candidate.complexity,
            "loss": loss,
            "r2": 1.0 - candidate.validation_nmse,
            "equation": shown.infix(names),
            "latex": shown.latex(names, digits=15),
            "intervals": _ends(intervals),
            **_trusted(fit, place),
        }
        for fit in fits
        for place, (candidate, shown, loss, intervals) in enumerate(
            zip(fit.candidates, fit.shown, fit.losses, fit.intervals, strict=True)
        )
    ]
    return pd.DataFrame(rows)


def _trusted(fit: TargetFit, place: int) -> dict[str, Any]:
    """The probability of the picked equation with its word, and what a competitor is behind by."""
    trust, picked = fit.trust, place == fit.chosen
    rivals = () if trust is None else trust.competitors
    behind = [each.nats for each in rivals if each.candidate is fit.candidates[place]]
    return {
        "probability": trust.probability if trust is not None and picked else math.nan,
        "trust": trust.word if trust is not None and picked else "",
        "behind": behind[0] if behind else math.nan,
    }


def _ends(intervals: ConstantIntervals | None) -> list[tuple[float, float]]:
    """Ends of the interval of every constant, with the digits that they resolve."""
    if intervals is None:
        return []
    rows = zip(intervals.constants.tolist(), intervals.ends.tolist(), strict=True)
    return [resolved(value, *ends)[1:] for value, ends in rows]


def score_table(
    equation: Expression,
    names: Sequence[str],
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
) -> pd.DataFrame:
    """Scores of a formula as it was given, and with its constants fitted.

    Args:
        equation: the formula.
        names: names of the features in equations.
        inputs: values of the columns. `[rows, columns]`
        target: values that the formula should have. `[rows]`
        weights: weights of the rows; None: all alike. `[rows]`
    """
    [fitted] = fit_constants([equation], inputs, target, iterations=_STEPS, weights=weights).expressions
    variance = float(np.average(np.square(target - np.average(target, weights=weights)), weights=weights))
    rows = {}
    for name, each in (("as given", equation), ("fitted", fitted)):
        loss = mean_square(each, inputs, target, weights)
        shown = equation if each is equation else readable(each, inputs, target)
        rows[name] = {
            "complexity": complexity(each),
            "loss": loss,
            "r2": 1.0 - loss / variance if variance else float(loss == 0.0),
            "equation": shown.infix(names),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def formulas_page(fits: Sequence[TargetFit], names: Sequence[str]) -> str:
    """The picked formula of every target and all others below it, typeset by the browser.

    Args:
        fits: what was found for every target.
        names: names of the features in equations.
    """
    return "".join(_formulas(fit, names) for fit in fits)


def _formulas(fit: TargetFit, names: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{'→' if place == fit.chosen else ''}</td><td>{candidate.complexity}</td>"
        f"<td>{1.0 - candidate.validation_nmse:.5g}</td>"
        f'<td style="text-align: left">{mathml(shown, names, digits=6, display=False)}</td></tr>'
        for place, (candidate, shown) in enumerate(zip(fit.candidates, fit.shown, strict=True))
    )
    formula: Any = mathml(fit.shown[fit.chosen], names, target=fit.name, digits=6)
    trusted = "" if fit.trust is None else f"<div>{escape(fit.trust.sentence)}</div>"
    return (
        f"<div>{formula}</div>{trusted}"
        f"<details><summary>{len(fit.candidates)} equations of {escape(fit.name)}</summary>"
        f"<table><thead><tr><th></th><th>complexity</th><th>R²</th><th>equation</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )
