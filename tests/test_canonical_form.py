"""Canonical forms: equal for equal expressions, different for different ones, the same values on the same rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from expressions.canonical_form import MAX_LENGTH, canonical, canonical_key
from expressions.equivalence import comparison_rows
from expressions.expression import Expression
from expressions.operators import BY_NAME
from expressions.parsing import parse
from tests.rounding import assert_same_values
from tests.strategies import ALL_OPERATORS, PLAIN_OPERATORS, expressions, random_expression

ROOT = Path(__file__).resolve().parent.parent


def apply(name: str, *arguments: Expression) -> Expression:
    return Expression.apply(name, *arguments)


# --- values -----------------------------------------------------------------------------------------------------


USUAL = (
    "add", "sub", "mul", "div", "neg", "inv", "square", "cube", "sqrt", "log", "sin", "abs", "max",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(expressions(max_depth=5, operators=PLAIN_OPERATORS))
def test_same_values_and_invalid_rows_stay_invalid(expression: Expression) -> None:
    assert_same_values(expression, canonical(expression))


def test_same_values_on_thousands_of_random_expressions() -> None:
    rng = np.random.default_rng(7)
    for _ in range(600):
        expression = random_expression(rng, 3, int(rng.integers(2, 6)), USUAL)
        assert_same_values(expression, canonical(expression))


@settings(max_examples=150, deadline=None)
@given(expressions(max_depth=6, operators=ALL_OPERATORS))
def test_idempotent(expression: Expression) -> None:
    once = canonical(expression)
    assert canonical_key(once) == canonical_key(expression)
    assert canonical_key(once, constants=False) == canonical_key(expression, constants=False)
    assert canonical(canonical(once)) == canonical(once)


# --- equal keys -------------------------------------------------------------------------------------------------

EQUAL = [
    ("x0 + x1", "x1 + x0"),
    ("(x0 + x1) + x2", "x0 + (x2 + x1)"),
    ("x0*(x1*x2)", "x2*x0*x1"),
    ("x0 + x0", "2*x0"),
    ("x0*x0", "x0**2"),
    ("x0**2*x0**4", "x0**6"),
    ("-(x0 - x1)", "x1 - x0"),
    ("--x0", "x0"),
    ("x0 - -x1", "x0 + x1"),
    ("x0*-x1", "-(x0*x1)"),
    ("x0/x1", "x0*(1/x1)"),
    ("x0/x1/x2", "x0/(x1*x2)"),
    ("x0*x1/x0", "x1"),
    ("x0 - x0", "0"),
    ("x0 + 0*x1", "x0"),
    ("1*x0 + 0", "x0"),
    ("2*(3*x0)", "6*x0"),
    ("2 + (x0 + 3)", "x0 + 5"),
    ("2*(x0 + 1)", "2*x0 + 2"),
    ("2*x0 + 2*x1", "2*(x1 + x0)"),
    ("(2*x0 + 4)*x1", "2*x1*(x0 + 2)"),
    ("(x0 - x1)**2", "(x1 - x0)**2"),
    ("(x0 - x1)**3", "-(x1 - x0)**3"),
    ("(2*x0)**2", "4*x0**2"),
    ("sin(-x0)", "-sin(x0)"),
    ("cos(x0 - x1)", "cos(x1 - x0)"),
    ("abs(-3*x0)", "3*abs(x0)"),
    ("sqrt(x0**2)", "abs(x0)"),
    ("abs(x0)**2", "x0**2"),
    ("abs(exp(x0))", "exp(x0)"),
    ("x0**0.5", "sqrt(x0)"),
    ("x0**2.0", "x0**2"),
    ("x0**-3", "1/x0**3"),
    ("log(exp(x0))", "x0"),
    ("x0**(-0.655)*x0", "x0**0.345"),
    ("(0.25*x0)**0.5*x1", "x1*sqrt(0.25*x0)"),
    ("(0.5*x0)**1.5/x0", "0.3535533905932738*sqrt(x0)"),
    ("x0**0.25*(x0**0.3*x0)", "(x0**0.25*x0**0.3)*x0"),
    ("x0**0.3*sqrt(x0)*x0", "x0**1.8"),
    ("x0**0.4*x0**0.6", "sqrt(x0)**2"),
    ("1/x0**0.3", "x0**(-0.3)"),
    ("x0**2/sqrt(x0)", "x0**1.5"),
    ("x0*sqrt(x0)", "x0**1.5"),
    ("sqrt(x0)*sqrt(x0)*sqrt(x0)", "x0**1.5"),
    ("x1*x0**2*sqrt(x0)", "x0**2.5*x1"),
    ("sqrt(x0)/x0**2", "x0**(-1.5)"),
    ("sqrt(x0)/x0", "1/sqrt(x0)"),
    ("(x0 + x1)*sqrt(x0 + x1)", "(x0 + x1)**1.5"),
    ("sqrt(x0*sqrt(x0))", "x0**0.75"),
    ("(x0*sqrt(x0))**0.3", "x0**0.45"),
    ("(x0**0.3)**0.5*(1/x0)**0.15", "sqrt(x0)/sqrt(x0)"),
    ("(x0 + 1)**0.3*(x0 + 1)", "(x0 + 1)**1.3"),
    ("max(x0, max(x1, x0))", "max(x1, x0)"),
    ("sin(2)*x0", "x0*0.9092974268256817"),
    ("0.1*x0 + 0.2*x0 - 0.3*x0", "0"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_expressions_have_equal_keys(left: str, right: str) -> None:
    assert canonical_key(parse(left)) == canonical_key(parse(right))
    assert canonical(parse(left)) == canonical(parse(right))


DIFFERENT_DOMAIN = [
    ("log(x0) - log(x0)", "0"),
    ("log(x0)/log(x0)", "1"),
    ("exp(log(x0))", "x0"),
    ("sqrt(x0)**2", "x0"),
    ("sqrt(x0)*sqrt(x0)", "x0"),
    ("max(x0, 0)/max(x0, 0)", "1"),
    ("max(x0, 0)**2/max(x0, 0)", "max(x0, 0)"),
    ("(x0 + abs(x0))/(x0 + abs(x0))", "1"),
    ("0*log(x0)", "0"),
    ("sin(asin(x0))", "x0"),
    ("x0**0.4*x0**0.6", "x0"),
    ("sqrt(x0)**2/x0", "1"),
    ("x0*sqrt(x0)**2", "x0**2"),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT_DOMAIN)
def test_rules_that_would_make_invalid_rows_valid_are_not_applied(left: str, right: str) -> None:
    assert canonical_key(parse(left)) != canonical_key(parse(right))


def rewrite(e: Expression, rng: np.random.Generator) -> Expression:
    """An equal expression: commuted, reassociated, signs and differences moved, at random and everywhere."""
    children = [rewrite(child, rng) for child in e.children()]
    if not children:
        choice = rng.integers(4)
        if choice == 0:
            return apply("neg", apply("neg", e))
        return apply("add", Expression.constant(0.0), e) if choice == 1 else e
    name = e.fold(lambda *_: "", lambda row, *_: row.name)
    if rng.random() < 0.5 and BY_NAME[name].commutative:
        children = children[::-1]
    if name in ("add", "mul") and rng.random() < 0.5:
        inner = children[0]
        if len(inner) > 1 and inner.fold(lambda *_: "", lambda row, *_: row.name) == name:
            a, b = inner.children()
            return apply(name, a, apply(name, b, children[1]))
    if name == "sub" and rng.random() < 0.5:
        if rng.random() < 0.5:
            return apply("neg", apply("sub", children[1], children[0]))
        return apply("add", children[0], apply("neg", children[1]))
    if name == "div" and rng.random() < 0.5:
        return apply("mul", children[0], apply("inv", children[1]))
    if name == "square" and rng.random() < 0.5:
        return apply("mul", children[0], children[0])
    return apply(name, *children)


def test_random_rewritings_have_the_same_key() -> None:
    rng = np.random.default_rng(3)
    names = ("add", "add", "sub", "mul", "mul", "div", "neg", "square", "sin", "exp", "max")
    for _ in range(700):
        expression = random_expression(rng, 3, 5, names)
        # Whole numbers: a reassociated sum of other numbers may differ in its last digit and in what cancels.
        expression = expression.with_constants(np.clip(np.round(expression.constants), 1, 4))
        normal = canonical(expression)
        # 0 times what is invalid on a region stays, and how much of it depends on the order of the product.
        if 0.0 in normal.constants or not np.isfinite(expression(comparison_rows(3))).any():
            continue
        assert canonical_key(rewrite(expression, rng)) == canonical_key(expression), expression


def test_numerically_different_expressions_have_different_keys() -> None:
    rng = np.random.default_rng(5)
    X = comparison_rows(3)
    found: dict[bytes, np.ndarray] = {}
    for _ in range(2_500):
        expression = random_expression(rng, 3, 3, PLAIN_OPERATORS)
        with np.errstate(all="ignore"):
            values = expression(X)
        other = found.setdefault(canonical_key(expression), values)
        both = np.isfinite(values) & np.isfinite(other)
        plain = both & (np.abs(values) < 1e6)  # tan(atan(1e12)) has lost most of its digits
        assert np.allclose(values[plain], other[plain], rtol=1e-6, atol=1e-6)
        assert both.sum() >= 0.9 * max(np.isfinite(values).sum(), np.isfinite(other).sum())


def test_skeleton_keys() -> None:
    def skeleton(text: str) -> bytes:
        return canonical_key(parse(text), constants=False)

    assert skeleton("2.5*x0 + 1.5") == skeleton("7*x0 - 3") == skeleton("-1.5 - 0.5*x0")
    assert skeleton("sin(2*x0)*3.1") == skeleton("0.5*sin(x0*9)")
    assert skeleton("2.5*x0 + x1") != skeleton("x0 + 2.5*x1")  # the place of a constant counts
    assert skeleton("2.5*x0") != skeleton("x0") != skeleton("x0 + 2.5")
    assert canonical_key(parse("2.5*x0")) != canonical_key(parse("2.6*x0"))


def test_keys_are_the_same_in_every_process() -> None:
    text = "sin(x0*2.5) + x1*x0 - max(x1, x0)/3.25"
    code = (
        "from expressions.parsing import parse; from expressions.canonical_form import canonical_key as k;"
        f"e = parse({text!r}); print(k(e).hex(), k(e, constants=False).hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert output == [canonical_key(parse(text)).hex(), canonical_key(parse(text), constants=False).hex()]


def test_long_expressions_are_left_alone() -> None:
    chain = Expression.joined("add", [Expression.variable(0)] * (MAX_LENGTH // 2 + 2))
    assert canonical(chain) == chain
    assert len(canonical(Expression.joined("add", [Expression.variable(0)] * 900))) == 3


def test_overflow_keeps_the_expression() -> None:
    for text in ("1e200*(1e200*x0)", "(1e-200*x0)*1e-200", "x0/0", "1/(0*log(x0))", "1e308*x0 + 1e308*x0"):
        once = canonical(parse(text))
        assert canonical(once) == once
        assert np.isfinite(once.constants).all()
