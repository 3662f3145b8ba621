"""What is known of a picked equation once its search is over, and speaks for or against its being the law."""

from __future__ import annotations

import math

import numpy as np

from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE, by_token
from searches.trust.misfit import along_inputs, among_neighbours, beyond_errors
from searches.trust.rivalry import Rivalry

__all__ = ["FEATURES", "NEAR", "features_of", "misfit"]

FEATURES = ("lead", "gain", "functions", "variables", "constants", "error", "exact", "misfit")
"""Names of the features, in their order.

lead: nats by which the next structure's description is longer, over the standard error of that difference.
gain: nats that the equation saves against the mean, what it costs deducted, on a logarithmic scale.
functions: number of different operators beyond those of polynomials and rational functions: what is put together
from many of them is a curve rather than a law.
variables: number of variables in the equation: of one variable, many a curve is like another.
constants: logarithm of one more than their number.
error: logarithm of the squared error over the target's variance, not below the rounding of the data.
exact: 1 where nothing but the rounding of the data is left, else 0.
misfit: logarithm of the least probability that errors alone leave such residuals.
"""
NEAR = 3.0
"""Nats within which a structure is as good: odds of twenty to one."""
_FUNCTION = by_token(False, lambda row: row.family not in ("polynomial", "rational"))
_FAR = 8.0  # standard errors beyond which more says nothing
_LEAST_P = 1e-10
_MOST_COLUMNS = 30


def features_of(rivalry: Rivalry) -> np.ndarray:
    """The features of a picked equation. `[len(FEATURES)]`

    Args:
        rivalry: picked equation, and the others of its front.
    """
    chosen = rivalry.chosen
    found = {
        "lead": _lead(rivalry),
        "gain": _signed_log(-float(rivalry.lengths[0])),
        "functions": float(_functions(chosen.expression)),
        "variables": float(len(chosen.expression.variables)),
        "constants": math.log1p(len(chosen.expression.constants)),
        "error": math.log10(rivalry.error()),
        "exact": float(chosen.exact),
        "misfit": math.log10(max(misfit(rivalry), _LEAST_P)),
    }
    return np.array([found[name] for name in FEATURES])


def _functions(expression: Expression) -> int:
    """Number of different operators that no polynomial or rational function has."""
    tokens = set(expression.tokens.tolist())
    return sum(1 for token in tokens if token < FIRST_VARIABLE and _FUNCTION[token])


def _signed_log(nats: float) -> float:
    return math.copysign(math.log1p(abs(nats)), nats)


def _lead(rivalry: Rivalry) -> float:
    """The smallest gap in standard errors, as other rows would have given other gaps.

    The variance of the difference of two log likelihoods is that of its part of each row (Q. Vuong, Likelihood
    ratio tests for model selection, Econometrica 1989).
    """
    rows, least = len(rivalry.residuals), _FAR
    weights = rivalry.weights / rivalry.weights.mean()
    own = weights * rivalry.squares[0] / rivalry.error()
    for place, gap in enumerate(rivalry.gaps.tolist(), 1):
        with np.errstate(all="ignore"):
            parts = 0.5 * (weights * rivalry.squares[place] / rivalry.error(place) - own)
            error = math.sqrt(rows) * float(parts.std())
        if math.isfinite(error):
            least = min(least, gap / max(error, 1.0))
    return max(least, -_FAR)


def misfit(rivalry: Rivalry) -> float:
    """The probability that errors alone leave such residuals: the least of all tests, times their number.

    Args:
        rivalry: picked equation, and the others of its front.
    """
    if rivalry.chosen.exact:
        return 1.0
    left = rivalry.residuals * np.sqrt(rivalry.weights)
    if not np.isfinite(left).all():
        return 0.0
    inputs = rivalry.inputs[:, _telling_columns(rivalry)]
    found = [along_inputs(inputs, left), among_neighbours(inputs, left)]
    if rivalry.known_errors:
        found.append(beyond_errors(left, len(rivalry.chosen.expression.constants)))
    return min(1.0, len(found) * min(found))


def _telling_columns(rivalry: Rivalry) -> list[int]:
    """Columns along which a misfit is looked for: all, or the equations' own where these are very many."""
    columns = rivalry.inputs.shape[1]
    if columns <= _MOST_COLUMNS:
        return list(range(columns))
    equations = [each.expression for each in (rivalry.chosen, *rivalry.others)]
    return list(dict.fromkeys(column for each in equations for column in each.variables))[:_MOST_COLUMNS]
