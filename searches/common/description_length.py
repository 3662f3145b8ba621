"""What an equation costs in a description of a table, in nats, beside the errors that it leaves.

A table is described by an equation and by what the equation leaves of the target. A longer equation is worth its
length where it saves more on the errors (J. Rissanen, Modeling by shortest data description, Automatica 1978). The
costs are after D. Bartlett, H. Desmond and P. Ferreira, Exhaustive symbolic regression, 2023: every node costs the
logarithm of the number of symbols, and every constant the digits to which the data determine it. Unlike there, a
constant may be written as it stands, and a node costs less where held-out rows judge.
"""

from __future__ import annotations

import math

import numpy as np

from expressions.expression import Expression
from expressions.fitting.reach import gram_of_constants
from expressions.operators import FIRST_VARIABLE, by_token

__all__ = ["FUNCTION_NATS", "MOST_ROWS", "NODE_NATS", "NODE_NATS_HELD_OUT", "constants_nats", "functions_nats"]

NODE_NATS, NODE_NATS_HELD_OUT = 3.0, 1.0
"""Nats of a node: about the logarithm of the number of symbols that it can be where all that is known are the rows
of the fit, and less where rows that the fit never saw have their say, too."""
FUNCTION_NATS = 2.0
"""Further nats of an exponential, a logarithm, a sine and the like. In the formulas of science they are rarer than
products, quotients and powers (R. Guimerà and others, A Bayesian machine scientist, 2020), and on a short stretch
each is nearly a line: `sin(1/x)` must not stand for `1/x` by the luck of the noise."""
MOST_ROWS = 2_000
"""Rows beyond which an equation costs no less: with more, it would grow beyond what a person reads."""

_DIGIT = math.log(10.0)
_SIGN = math.log(2.0)
_ROWS = 300  # by which the digits are judged: more change a fraction of a nat
_COSTS_MORE = by_token(False, lambda row: row.family not in ("polynomial", "rational", "root"))


def functions_nats(expression: Expression) -> float:
    """Nats that an equation costs for its functions, beside its nodes.

    Args:
        expression: any equation.
    """
    operators = expression.tokens[expression.tokens < FIRST_VARIABLE].tolist()
    return FUNCTION_NATS * sum(_COSTS_MORE[token] for token in operators)


def constants_nats(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    *,
    error: float,
    rows: float,
    weights: np.ndarray | None = None,
) -> float:
    """Nats that the constants of an equation cost.

    A constant is written either to the precision at which a further digit saves nothing on the errors, the square
    root of twelve over its Fisher information, or as it stands, where it has few digits.

    Args:
        expression: equation with its constants.
        inputs: values of the variables. `[rows, variables]`
        target: values of the target. `[rows]`
        error: mean squared error of the equation, in the units of the target squared; not below what the digits of
            the table leave.
        rows: number of rows that are described, those at hand among them.
        weights: weights of the rows' squared errors, of mean 1; None: all alike. `[rows]`
    """
    constants = expression.constants
    if not len(constants):
        return 0.0
    some = slice(None, None, -(-len(target) // _ROWS))
    known = None if weights is None else weights[some]
    nothing_settled = np.zeros(len(constants), dtype=bool)
    gram, total = gram_of_constants(expression, inputs[some], target[some], known, nothing_settled)
    with np.errstate(all="ignore"):
        information = np.diag(gram)[:-1] / total * rows / max(error, np.finfo(float).tiny)
        resolved = 0.5 * np.log(information / 3.0) + np.log(np.abs(constants))
    written = np.array([_written(value) for value in constants.tolist()])
    nats = np.minimum(np.maximum(np.where(np.isnan(resolved), np.inf, resolved), 0.0), written)
    return float(nats.sum()) + _SIGN * len(constants)


def _written(value: float) -> float:
    """Nats of a number as it stands: its significant digits, and the place of the point."""
    mantissa, _, exponent = f"{abs(value):.16e}".partition("e")
    digits = len(mantissa.replace(".", "").rstrip("0"))
    return _DIGIT * digits + math.log1p(abs(int(exponent)))
