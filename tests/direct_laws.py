"""What tests of the direct kinds share: rows, tables of a law, and what an equation that was found is like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE, operator
from searches.evolution.settings import DEFAULT_OPERATORS

Law = Callable[..., np.ndarray]
"""Values of a law, by its columns."""


def rows(low: float, high: float, columns: int, seed: int = 0, count: int = 300) -> np.ndarray:
    """Rows of columns that are uniform between two numbers. `[count, columns]`"""
    return np.random.default_rng(seed).uniform(low, high, (count, columns))


def table_of(law: Law, low: float, high: float, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a column for every argument of the law, and its values."""
    inputs = rows(low, high, law.__code__.co_argcount, seed=3, count=count)
    return inputs, law(*inputs.T)


def equations_of(
    find: Callable[..., Iterable[Expression]],
    inputs: np.ndarray,
    target: np.ndarray,
    operators: Sequence[str] = DEFAULT_OPERATORS,
) -> list[Expression]:
    """All that a direct kind finds in a table, without a limit of time."""
    with np.errstate(all="ignore"):
        return list(find(inputs, target, operators, math.inf))


def error_of(equation: Expression, inputs: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error over the variance of the target."""
    return float(np.mean(np.square(equation(inputs) - target)) / np.var(target))


def names_of(equation: Expression) -> set[str]:
    """Names of the operators in an equation."""
    return {operator(token).name for token in equation.tokens.tolist() if 0 < token < FIRST_VARIABLE}
