"""What SymPy simplifies has the same values on the same rows, and is never more complex."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from expressions.canonical_form import canonical_key
from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.parsing import parse
from expressions.simplest_form import simplify
from tests.rounding import assert_same_values
from tests.strategies import expressions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sin(x0)**2 + cos(x0)**2", "1"),
        ("(x0**2 - 1)/(x0 - 1)", "x0 + 1"),
        ("x0*x1 + x0*x2", "x0*(x1 + x2)"),
        ("(1.5*x0 + 0.37*x1*x0)/x0", "0.37*x1 + 1.5"),
        ("safe_div(x0, x0 + 0)", "safe_div(x0, x0)"),
    ],
)
def test_simplify(text: str, expected: str) -> None:
    assert canonical_key(simplify(parse(text), seconds=5.0)) == canonical_key(parse(expected))


@pytest.mark.parametrize("text", ["exp(log(x0))", "sqrt(x0)**2", "log(x0**2) - 2*log(x0)"])
def test_simplify_keeps_invalid_rows_invalid(text: str) -> None:
    simple = simplify(parse(text), seconds=5.0)
    assert not np.isfinite(simple(np.array([[-1.0]])))[0]


@settings(max_examples=15, deadline=None)
@given(expressions(max_depth=4, operators=("add", "sub", "mul", "div", "sin", "exp", "square")))
def test_simplify_is_never_worse(expression: Expression) -> None:
    simple = simplify(expression, seconds=0.3)
    assert complexity(simple) <= complexity(expression)
    assert_same_values(expression, simple)
