"""Hypothesis strategies for random expressions, and where their values can be compared; shared by the tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, OPERATORS, Operator

ALL_OPERATORS: tuple[str, ...] = tuple(row.name for row in OPERATORS)
PLAIN_OPERATORS: tuple[str, ...] = tuple(row.name for row in OPERATORS if not row.protected)
ARITHMETIC: tuple[str, ...] = ("add", "sub", "mul", "div", "neg", "inv", "square", "cube")

# Whole numbers and dyadic fractions often, so that like terms, neutral elements and exact sums occur.
CONSTANTS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 0.5, -0.25, 10.0]),
    st.integers(-9, 9).map(float),
    st.floats(-100.0, 100.0, allow_subnormal=False),
)
ANY_CONSTANTS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def expressions(
    draw: st.DrawFn,
    variables: int = 3,
    max_depth: int = 6,
    operators: Sequence[str] = PLAIN_OPERATORS,
    constants: st.SearchStrategy[float] = CONSTANTS,
) -> Expression:
    """Random expressions.

    Args:
        draw: given by Hypothesis.
        variables: variables x0 … that may occur; with 0, only constants are leaves.
        max_depth: operators on the longest path.
        operators: names of the operators that may occur.
        constants: values of the constants.
    """
    unary = [name for name in operators if BY_NAME[name].arity == 1]
    binary = [name for name in operators if BY_NAME[name].arity == 2]

    def tree(depth: int) -> Expression:
        kinds = ["leaf", *(["unary"] if unary else []), *(["binary", "binary"] if binary else [])]
        kind = draw(st.sampled_from(kinds)) if depth > 0 else "leaf"
        if kind == "unary":
            return Expression.apply(draw(st.sampled_from(unary)), tree(depth - 1))
        if kind == "binary":
            return Expression.apply(draw(st.sampled_from(binary)), tree(depth - 1), tree(depth - 1))
        index = draw(st.integers(0, variables))
        return Expression.constant(draw(constants)) if index == variables else Expression.variable(index)

    return tree(draw(st.integers(0, max_depth)))


def random_expression(
    rng: np.random.Generator,
    variables: int = 3,
    max_depth: int = 6,
    operators: Sequence[str] = PLAIN_OPERATORS,
) -> Expression:
    """The same from a NumPy generator, for tests that need thousands of expressions quickly."""
    if max_depth == 0 or rng.random() < 0.15:
        if rng.random() < 0.3:
            return Expression.constant(float(rng.choice([rng.integers(-5, 6), rng.normal()])))
        return Expression.variable(int(rng.integers(variables)))
    name = str(rng.choice(list(operators)))
    arguments = [random_expression(rng, variables, max_depth - 1, operators) for _ in range(BY_NAME[name].arity)]
    return Expression.apply(name, *arguments)


def well_conditioned(
    expression: Expression, X: np.ndarray, within: float = 3e-13, least: float = 0.0
) -> np.ndarray:
    """Rows where errors of 1e-15 in every operation change the value by less than `within` of it (samples).

    Where it is smaller than `least`, by less than `within` of that. `[rows]` bool
    """
    exact = expression(X)
    usable = np.isfinite(exact)
    for seed in range(4):
        rng = np.random.default_rng(seed)

        def combine(row: Operator, *arguments: np.ndarray, rng: np.random.Generator = rng) -> np.ndarray:
            values = row.numpy(*arguments, np.empty(len(X)))
            # Of unequal sizes: two that cancel would hide that log(x/x) has no digit that is certain.
            sizes = rng.uniform(0.5, 1.0, len(X)) * rng.choice([-1.0, 1.0], len(X))
            return values * (1.0 + 1e-15 * sizes)

        def leaf(token: int, value: float) -> np.ndarray:
            return np.full(len(X), value) if token == CONSTANT else X[:, token - FIRST_VARIABLE]

        with np.errstate(all="ignore"):
            disturbed = np.array(expression.fold(leaf, combine))
            usable &= np.abs(disturbed - exact) <= within * np.maximum(np.abs(exact), least)
    return usable
