"""Errors are right to the last digits, complexity is SymPy's, and the recovery rule is SRBench's."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, TOKEN, Operator
from expressions.parsing import parse
from expressions.scoring import (
    complexity,
    equivalent,
    mae,
    mse,
    nmse,
    out_of_range,
    probe_rows,
    r2,
    recovered,
    rmse,
)
from expressions.simplification import canonical
from expressions.sympy_size import sympy_nodes
from tests.strategies import expressions, random_expression

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


def exact_nmse(y: list[float], f: list[float]) -> float:
    """The definition in exact rational arithmetic; inf where a float cannot hold it."""
    target, prediction = [Fraction(v) for v in y], [Fraction(v) for v in f]
    mean = sum(target) / len(target)
    error = sum((a - b) ** 2 for a, b in zip(target, prediction, strict=True))
    ratio = error / sum((a - mean) ** 2 for a in target)
    return float(ratio) if ratio <= Fraction(np.finfo(float).max) else math.inf


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=20))
def test_nmse_equals_exact_arithmetic(pairs: list[tuple[float, float]]) -> None:
    y, f = [a for a, _ in pairs], [b for _, b in pairs]
    if np.ptp(y) < 1e-6 * np.max(np.abs(y)) or np.ptp(y) == 0.0:
        return
    assert nmse(np.array(y), np.array(f)) == pytest.approx(exact_nmse(y, f), rel=1e-8)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e5])
def test_offset_and_scale_do_not_matter(offset: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    y = offset + scale * rng.normal(size=1000)
    f = y + 0.1 * scale * rng.normal(size=1000)
    assert nmse(y, f) == pytest.approx(exact_nmse(y.tolist(), f.tolist()), rel=1e-6)
    assert r2(y, f) == 1.0 - nmse(y, f)


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e160, 1e200])
def test_squares_outside_the_range_of_float64(scale: float) -> None:
    y, f = np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 3.0])
    assert nmse(scale * y, scale * f) == pytest.approx(nmse(y, f), rel=1e-12)
    assert rmse(scale * y, scale * f) == pytest.approx(scale * rmse(y, f), rel=1e-12)


def test_errors_on_a_small_table() -> None:
    y, f = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 3.0, 1.0])
    assert mse(y, f) == pytest.approx(2.5)
    assert rmse(y, f) == pytest.approx(math.sqrt(2.5))
    assert mae(y, f) == 1.0
    assert nmse(y, f) == pytest.approx(2.0)
    assert r2(y, f) == pytest.approx(-1.0)  # not clipped
    assert r2(y, np.array(2.5)) == pytest.approx(0.0)  # one number for all rows
    assert r2(y, y) == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_not_finite_fails(bad: float) -> None:
    y, f = np.array([1.0, 2.0, 3.0]), np.array([1.0, bad, 3.0])
    assert r2(y, f) == -math.inf
    assert nmse(y, f) == mse(y, f) == rmse(y, f) == mae(y, f) == math.inf


def test_constant_target() -> None:
    y = np.full(7, 0.1)
    assert (nmse(y, y), r2(y, y)) == (0.0, 1.0)
    assert (nmse(y, y + 1e-9), r2(y, y + 1e-9)) == (math.inf, -math.inf)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        r2(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="predictions for"):
        r2(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="not finite"):
        mae(np.array([1.0, math.nan]), np.zeros(2))


# --- complexity -------------------------------------------------------------------------------------------------


def srbench_count(expression: Expression) -> int:
    return sum(1 for _ in sympy.preorder_traversal(expression.to_sympy()))


def applies_to_numbers(expression: Expression) -> bool:
    """Whether an operator has only numbers below it: SymPy may then evaluate for as long as it likes."""

    def combine(row: Operator, *constant: int) -> int:
        return 2 if min(constant) >= 1 or 2 in constant else 0

    return expression.fold(lambda token, _: int(token == CONSTANT), combine) == 2


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("x0", 1),
        ("3", 1),
        ("x0 + x1 + 2", 4),
        ("x0 - x1", 5),
        ("x0/x1", 5),
        ("1/x0", 3),
        ("x0**2", 3),
        ("sqrt(x0)", 3),
        ("2*(x0 + x1)", 7),
        ("x0 + x0", 3),
        ("x0 - x0", 1),
        ("sin(3*x0 + 1)", 6),
        ("1 + 2", 1),
    ],
)
def test_complexity_of_known_trees(text: str, nodes: int) -> None:
    assert complexity(parse(text)) == nodes == srbench_count(parse(text))


POLYNOMIAL = ("add", "sub", "mul", "div", "neg", "inv", "square", "cube")
USUAL = (*POLYNOMIAL, "sin", "cos", "tan", "exp", "log", "sqrt", "tanh", "atan")


@settings(max_examples=300, deadline=None)
@given(expressions(variables=4, max_depth=4, operators=POLYNOMIAL))
def test_complexity_equals_sympy_on_rational_functions(expression: Expression) -> None:
    assume(not out_of_range(expression))
    assert complexity(expression) == srbench_count(expression)


@settings(max_examples=300, deadline=None)
@given(expressions(variables=4, max_depth=4, operators=USUAL))
def test_complexity_equals_sympy(expression: Expression) -> None:
    assume(not applies_to_numbers(expression) and not out_of_range(expression))
    assert complexity(expression) == srbench_count(expression)


@pytest.mark.parametrize(("constant", "beyond"), [(1.9e-170, True), (1.9e170, True), (1.9e-160, False)])
def test_where_numbers_go_beyond_a_thousand_digits_operators_are_added_up(constant: float, beyond: bool) -> None:
    expression = Expression.apply("square", Expression.apply("cube", Expression.constant(constant)))
    assert out_of_range(expression) == beyond
    assert complexity(expression) == (5 if beyond else srbench_count(expression))


GENERIC = st.floats(-9.0, 9.0, allow_subnormal=False).filter(lambda v: v != 0.0)


@settings(max_examples=300, deadline=None)
@given(
    expressions(
        variables=3,
        max_depth=5,
        operators=("add", "sub", "mul", "mul", "div", "sqrt", "sin", "cos", "tanh", "exp", "log", "square", "inv"),
        constants=GENERIC,
    )
)
def test_complexity_equals_sympy_on_expressions_of_a_search(expression: Expression) -> None:
    for form in (expression, canonical(expression)):
        assume(not applies_to_numbers(form))
        counted = sympy_nodes(form)
        assert counted is None or counted == srbench_count(form)


@pytest.mark.parametrize(
    "text",
    [
        "0.94*sqrt(6.1*cos(0.0186*x0 - 0.016*x1 + 1.107) + 0.13*x0 - 0.948) + 0.34*cos(0.036*x0 - 5.82)",
        "exp(x0 + 1.5)",  # a float leaves the exponent
        "exp(2*x0 + log(x1))*exp(x0)",
        "sin(x1 - x0) + sin(x0 - x1)",  # signs leave odd functions: half of the terms are negative
        "cos(1 - 0.5*x0) + cos(0.5*x0 - 1) + tanh(x0*x1 - x0 + 1 - x1**2)",
        "sqrt(-2.5*x0*exp(x1))*sqrt(x0)*sqrt(x0)",
        "sqrt(12*x0) + sqrt(sqrt(x1))",
        "(2.5*x0*sqrt(x1 + 1.5))**2",  # a float is distributed over a lone sum
        "0.5*(2*x0)",  # 1.0*x0
        "(x0 + 1.5)**2*(x0 + 1.5)**-1*3.5",
        "x0**x1*x0**2*x0**(2*x1)",
        "(0.3*x0*x1)**1.7 + (x0**3)**2",
        "max(x0, 0.5)*x1 + 1.5",
    ],
)
def test_complexity_without_sympy(text: str) -> None:
    assert sympy_nodes(parse(text)) == srbench_count(parse(text))


def test_sympy_is_rarely_needed() -> None:
    rng = np.random.default_rng(11)
    operators = ("add", "sub", "mul", "mul", "div", "sqrt", "sin", "cos", "tanh", "exp", "square")
    X = probe_rows(3)
    asked = finite = 0
    while finite < 400:
        expression = canonical(random_expression(rng, 3, int(rng.integers(3, 6)), operators))
        with np.errstate(all="ignore"):
            if np.isfinite(expression(X)).mean() > 0.3:
                finite += 1
                asked += sympy_nodes(expression) is None
    assert asked <= 0.03 * finite


def test_complexity_of_a_very_long_sum_is_bounded_in_time() -> None:
    tokens = [TOKEN["add"]] * 20_000 + [FIRST_VARIABLE] * 20_001
    assert complexity(Expression(tokens)) == 40_001


def test_protected_operators_count_as_the_plain_ones() -> None:
    assert complexity(parse("safe_div(x0, x1) + safe_log(safe_sqrt(x0))")) == srbench_count(
        parse("x0/x1 + log(sqrt(x0))")
    )


def test_complexity_of_numbers_that_sympy_could_not_write_out() -> None:
    expression = parse("9**9**9**9 + x0")
    assert complexity(expression) == 9
    tower = parse("x0*7")
    for _ in range(12):
        tower = Expression.apply("pow6", tower)
    assert complexity(tower) == 27


# --- identity ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "truth", "expected"),
    [
        ("x0*x1", "x1*x0", True),
        ("x0*x1 + 3.7", "x1*x0", True),  # a constant apart
        ("-2.5*x0*x1", "x1*x0", True),  # a factor apart
        ("3.1404*x0 + sin(x1)", "pi*x0 + sin(x1)", False),  # 3.140 and 3.142 after rounding
        ("3.1417*x0 + sin(x1)", "pi*x0 + sin(x1)", True),
        ("x0*(x1 + x2) + 0.00001*x1", "x0*x1 + x0*x2", True),
        ("x0*(x1 + x2) + 0.01*x1", "x0*x1 + x0*x2", False),
        ("sin(x0)*cos(x0)", "sin(2*x0)", True),
        ("1 - sin(x0)**2", "cos(x0)**2", True),
        ("sin(x0 + 1.5708)", "cos(x0)", True),  # what is left rounds to 0
        ("sin(x0 + 1.6)", "cos(x0)", False),
        ("(x0**2 - 1)/(x0 - 1)", "x0", True),
        ("sqrt(x0*x0 + x1**2)", "sqrt(x0**2 + x1**2)", True),
        ("exp(-x0**2/2)/sqrt(2*pi)", "0.3989*exp(-0.5*x0**2)", True),
        ("x0", "x0**2", False),
        ("0", "x0", False),
        ("5", "x0", False),
        ("x0 - x0**3/6 + x0**5/120", "sin(x0)", False),
    ],
)
def test_recovered(model: str, truth: str, expected: bool) -> None:
    assert recovered(parse(model), parse(truth)) is expected


def test_recovered_without_an_answer_of_sympy() -> None:
    truth = parse("sin(x0)*cos(x0)")
    assert recovered(parse("0.5*sin(2*x0)"), truth, seconds=0.0)
    assert not recovered(parse("0.5*sin(2*x0) + 0.01*x0"), truth, seconds=0.0)


def test_equivalent() -> None:
    X = probe_rows(2)
    truth = parse("x0/(x0 + x1)")
    assert equivalent(parse("1/(1 + x1/x0)"), truth, X)
    assert not equivalent(parse("x0/(x0 + 1.00001*x1)"), truth, X)
    assert not equivalent(parse("x0/(x0 + x1) + 1"), truth, X)  # an offset is not the same equation
    assert not equivalent(parse("sqrt(x0)"), parse("abs(x0)**0.5"), X)  # not finite on some rows
    assert equivalent(parse("log(x0)"), parse("2*log(x0) - log(x0)"), X)  # nor is the truth
    assert not equivalent(parse("x0"), parse("log(-1 - x0**2)"), X)  # the truth is nowhere
