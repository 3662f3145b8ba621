"""Derivatives by the variables are slopes."""

import numpy as np
import pytest
from hypothesis import given, settings

from expressions.expression import Expression
from expressions.gradient import gradient
from expressions.operators import OPERATORS
from expressions.parsing import parse
from tests.strategies import expressions

X = np.random.default_rng(3).uniform(0.2, 0.9, (40, 3))


def slopes(expression: Expression, variable: int) -> np.ndarray:
    step = np.zeros(3)
    step[variable] = 1e-6
    return (expression(X + step) - expression(X - step)) / 2e-6


@pytest.mark.parametrize("row", OPERATORS, ids=lambda row: row.name)
def test_every_operator(row) -> None:
    inside = parse("0.5*x0 + 0.3*x1*x0 + 0.05")
    expression = Expression.apply(row.name, *[inside, Expression.variable(1)][: row.arity])
    found = gradient(expression, X)
    assert list(found) == [0, 1]
    for variable, derivative in found.items():
        np.testing.assert_allclose(derivative, slopes(expression, variable), rtol=1e-6, atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(expressions(operators=("add", "sub", "mul", "sin", "exp", "square", "tanh", "sqrt"), max_depth=4))
def test_compositions(expression: Expression) -> None:
    found = gradient(expression, X)
    assert tuple(found) == expression.variables
    for variable, derivative in found.items():
        numeric = slopes(expression, variable)
        plain = np.isfinite(numeric) & (np.abs(numeric) < 1e3) & (np.abs(expression(X)) < 1e3)
        np.testing.assert_allclose(derivative[plain], numeric[plain], rtol=1e-3, atol=1e-4)


def test_a_constant_has_no_derivative() -> None:
    assert gradient(parse("2*3"), X) == {}
