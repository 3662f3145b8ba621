"""Derivatives of an equation by its variables, and by its constants."""

from __future__ import annotations

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, Operator

__all__ = ["gradient", "gradient_by_constants"]

Dual = tuple[np.ndarray, dict[int, np.ndarray]]
"""Values `[rows]` (or one number `[1]`) of a subtree, and its derivative by each variable that it holds."""


def gradient(expression: Expression, inputs: np.ndarray) -> dict[int, np.ndarray]:
    """Derivatives by every variable that occurs, in one forward pass.

    Args:
        expression: equation to differentiate.
        inputs: values of the variables. `[rows, variables]`

    Returns:
        Variable -> derivative `[rows]`, not finite where there is none.
    """
    table = np.asarray(inputs, dtype=np.float64)
    rows = len(table)

    def leaf(token: int, value: float) -> Dual:
        if token == CONSTANT:
            return np.array([value]), {}
        variable = token - FIRST_VARIABLE
        return table[:, variable], {variable: np.ones(rows)}

    def combine(row: Operator, *arguments: Dual) -> Dual:
        values = [value for value, _ in arguments]
        own = row.numpy(*values, np.empty(max(map(len, values))))
        total: dict[int, np.ndarray] = {}
        for partial, (_, slopes) in zip(row.partials(np, own, *values), arguments, strict=True):
            for variable, slope in slopes.items():
                total[variable] = total.get(variable, 0.0) + partial * slope
        return own, total

    with np.errstate(all="ignore"):
        found = expression.fold(leaf, combine)[1]
    return {variable: found[variable] for variable in sorted(found)}


def gradient_by_constants(expression: Expression, inputs: np.ndarray) -> np.ndarray:
    """Derivatives by every constant.

    Args:
        expression: equation to differentiate.
        inputs: values of the variables. `[rows, variables]`

    Returns:
        Derivatives, not finite where there is none. `[rows, constants]`
    """
    table = np.asarray(inputs, dtype=np.float64)
    (rows, variables), count = table.shape, len(expression.constants)
    tokens = expression.tokens.copy()
    tokens[tokens == CONSTANT] = FIRST_VARIABLE + variables + np.arange(count)
    held = np.broadcast_to(expression.constants, (rows, count))
    found = gradient(Expression(tokens, []), np.concatenate([table, held], axis=1))
    return np.column_stack([found[variables + k] for k in range(count)]) if count else np.zeros((rows, 0))
