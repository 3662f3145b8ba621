"""Spellings: the same values with the constants in other places, and the one a reader would choose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings

from expressions.canonical_form import canonical_key
from expressions.equivalence import comparison_rows
from expressions.expression import Expression
from expressions.parsing import parse
from searches.common.equivalent_forms import digits, doubled, spellings, tied, unrooted, unsigned, widened
from tests.rounding import disturbed
from tests.strategies import expressions

ROWS = comparison_rows(3, rows=60)


def assert_same_where_finite(original: Expression, spelling: Expression) -> None:
    """Equal up to rounding on every row where the original is finite and no step on the way is extreme."""
    runs = [disturbed(e, ROWS, seed) for e in (original, spelling) for seed in range(2)]
    with np.errstate(all="ignore"):
        expected, found = original(ROWS), spelling(ROWS)
        spread = np.max([np.abs(values - expected) for values, _ in runs[:2]], axis=0)
        spread = np.maximum(spread, np.max([np.abs(values - found) for values, _ in runs[2:]], axis=0))
        settled = np.isfinite(expected) & ~np.any([extreme for _, extreme in runs], axis=0)
        finite = [np.all([np.isfinite(values) for values, _ in some], axis=0) for some in (runs[:2], runs[2:])]
        settled &= finite[0] & (finite[1] | ~np.isfinite(found))  # neither is finite by a hair
        wrong = ~(np.abs(found - expected) <= 100.0 * spread + 1e-11 * np.abs(expected) + 1e-12)
    at = np.flatnonzero(settled & wrong)
    assert not len(at), (original.infix(), spelling.infix(), ROWS[at[0]], expected[at[0]], found[at[0]])


# What a factor can be moved through, and what it cannot.
THROUGH = ("add", "sub", "mul", "div", "neg", "inv", "square", "sqrt", "sin")


@settings(max_examples=300, deadline=None)
@given(expressions(max_depth=6, operators=THROUGH))
@example(parse("sqrt((x0 - x0)*2)"))  # a root of rounding, in one spelling
def test_values_agree_wherever_they_are_finite(expression: Expression) -> None:
    found = spellings(expression)
    assert found[0] is expression
    assert len(found) <= 12
    for spelling in found[1:]:
        assert_same_where_finite(expression, spelling)


@settings(max_examples=150, deadline=None)
@given(expressions(max_depth=6))
def test_values_agree_with_all_functions(expression: Expression) -> None:
    for spelling in spellings(expression):
        assert_same_where_finite(expression, spelling)


def texts(text: str) -> list[str]:
    """Other spellings, constants rounded: where a factor ends up, not what rounding makes of it."""
    found = [e.with_constants(np.round(e.constants, 12)) for e in spellings(parse(text))[1:]]
    return [e.infix() for e in found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2*sqrt(0.25*x0 + 1)", "sqrt(x0 + 4)"),
        ("0.5/(0.5*x0 + 1)", "1/(x0 + 2)"),
        ("0.5*x1/(0.5*x0 + 1)", "x1/(x0 + 2)"),
        ("4*(0.5*x0 + 1)**2", "(x0 + 2)**2"),
        ("4/(2*x0 + 2)**2", "(x0 + 1)**-2.0"),
        ("4/sqrt(16*x0 + 32)", "1/sqrt(x0 + 2)"),
        ("2*sqrt(sqrt(x0 + 1))", "(16*x0 + 16)**0.25"),
        ("2*(x0 + 0.5*x1 - 3)", "2*x0 + x1 - 6"),
        ("2*(x0 - x1)", "2*x0 - 2*x1"),
        ("2*sin(x1)*(x0 + 1.5)", "sin(x1)*(2*x0 + 3)"),
        ("x1 + cos(2*(x0 + 0.5))", "x1 + cos(2*x0 + 1)"),
        ("x0/(2*(x1 + 0.5))", "x0/(2*x1 + 1)"),
    ],
)
def test_a_factor_goes_into_the_sum(text: str, wanted: str) -> None:
    assert canonical_key(parse(wanted)) in [canonical_key(spelling) for spelling in spellings(parse(text))]


def test_b8_and_a_reciprocal_are_read_as_they_were_written() -> None:
    fitted = parse("1.140175425099138*sqrt(0.9230769230769231*(x1/x0) + 1)")
    assert "sqrt(1.2*(x1/x0) + 1.3)" in texts(fitted.infix())
    assert "1/(1.2*x0 + 1.3)" in texts("0.8333333333333334/(x0 + 1.0833333333333333)")


@pytest.mark.parametrize("text", ["-2*sqrt(x0 + 1)", "-2/(x0 + 1)", "-2*(x0 + 1)", "-2*x1/(x0 + 1)"])
def test_the_sign_stays_outside(text: str) -> None:
    found = spellings(parse(text))[1:]
    assert found
    for spelling in found:
        assert spelling.infix().startswith("-")
        np.testing.assert_allclose(spelling(ROWS), parse(text)(ROWS), rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "2*sqrt((x0 + 1)**2)",  # a magnitude
        "2*sin(x0 + 1)", "2*exp(x0 + 1)", "2*x0*x1", "x0 + 1", "1*(x0 + 1)", "-1*(x0 + 1)", "0*(x0 + 1)",
        "3.5", "x0", "1e200*sqrt(x0 + 1)", "1e-200*sqrt(x0 + 1)", "1e25*sqrt(1e120*x0 + 1)", "x0/(0*(x1 + 1))",
        "1/0*(x0 + 1)", "5e-324*(x0 + 1)", "(x0 + 1)/5e-324", "1e300*1e300*(x0 + 1)",
    ],
)  # fmt: skip
def test_what_has_no_other_spelling(text: str) -> None:
    assert spellings(parse(text)) == [parse(text)]


def test_there_is_an_end_to_it() -> None:
    assert len(spellings(parse("*".join(f"(x0 + {k}.5)" for k in range(40)) + "*3"))) == 12


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("x0", 0), ("1*x0", 1), ("0*x0", 1), ("120*x0", 2), ("-0.0012*x0", 2), ("1.2*x0 + 1.3", 4), ("1e20*x0", 1),
        ("1.5e-7*x0", 2), ("100.5*x0", 4), ("0.1*x0 + 0.25*x1", 3),
    ],
)  # fmt: skip
def test_digits(text: str, count: int) -> None:
    assert digits(parse(text)) == count


@pytest.mark.parametrize(
    ("text", "wider"),
    [
        ("2*x0 + 0*log(x0)", "2*x0"),
        ("0/log(x0) + x1", "x1"),
        ("exp(5*log(x0))", "x0**5"),
        ("exp(log(3*x0))", "3*x0"),
        ("exp(1.5*log(x1))", "x1**1.5"),
        ("exp(x1*log(x0))", "exp(x1*log(x0))"),
        ("exp(x1 - 0.3)", "exp(x1 - 0.3)"),
        ("exp(2*log(x0) + x1)", "x0**2*exp(x1)"),
        ("exp(0.5*log(x0*x1) + 1.5 - 1*log(x1))", "sqrt(x0*x1)*(1/x1)*exp(1.5)"),
        ("exp(-0.5*log(x0) - log(x1))", "1/sqrt(x0)*(1/x1)"),
        ("x1*sqrt(x0 + 1)**2", "x1*(x0 + 1)"),
        ("-(x0*(1*x1 + x0*1 - 3))", "-(x0*(x1 + x0 - 3))"),
    ],
)
def test_what_only_narrows_the_domain_goes(text: str, wider: str) -> None:
    names = ["x0", "x1"]
    found = widened(parse(text, names))
    assert found == parse(wider, names)
    rows = np.random.default_rng(0).uniform(0.5, 2.0, (20, 2))
    np.testing.assert_allclose(found(rows), parse(text, names)(rows), rtol=1e-13)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("sqrt(x0**2*x1)", "x0*sqrt(x1)"),
        ("sqrt((x1 + 1)/x0**2)", "sqrt(x1 + 1)/x0"),
        ("sqrt(3*x0**2)", "x0*sqrt(3)"),
        ("sqrt(2*x0**2/(x1*(x0 + 1)**2))", "x0*sqrt(2/x1)/(x0 + 1)"),
        ("x1*sqrt(x0 + x1**2)", "x1*sqrt(x0 + x1**2)"),
        ("sqrt(x0**2/(0*x1))", "sqrt(x0**2/(0*x1))"),
    ],
)
def test_squares_leave_roots(text: str, plain: str) -> None:
    names = ["x0", "x1"]
    found = unrooted(parse(text, names))
    rows = np.random.default_rng(0).uniform(0.5, 2.0, (20, 2))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found(rows), parse(plain, names)(rows), rtol=1e-13)
    assert found.infix().count("**2") == parse(plain, names).infix().count("**2")


def test_magnitudes_that_the_data_do_not_need() -> None:
    assert unsigned(parse("2*abs(x0)**3 + abs(x1 - 1)", ["x0", "x1"])) == parse("2*x0**3 + (x1 - 1)", ["x0", "x1"])


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("3.95/x0 - 3.93/x1", ["3.95*(1/x0 - 1/x1)"]),
        ("x0*sqrt(84.1*x1**2 + 84.0)", ["x0*sqrt(84.1*(x1**2 + 1))"]),
        ("2*x0 + sin(3*x1 - 3.1*x2)", ["2*x0 + sin(3*(x1 - x2))"]),
        ("x0 + x1", []),
        ("2*x0 + 5*x1", []),
        ("0*x0 + 0*x1", []),
    ],
)
def test_nearly_equal_factors_of_a_sum_are_tied(text: str, forms: list[str]) -> None:
    assert list(tied(parse(text))) == [parse(form) for form in forms]


@settings(max_examples=100, deadline=None)
@given(expressions(max_depth=6, operators=("add", "mul", "div", "neg", "inv", "sin", "cos")))
@example(parse("sin(x0*x1)*x2*cos(x0*x1)/3"))
@example(parse("x2/(sin(x0)*cos(x0))"))
def test_doubled_angles_have_the_same_values(expression: Expression) -> None:
    assert_same_where_finite(expression, doubled(expression))


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        ("2*sin(x0)*cos(x0) + 0.5*x1", "sin(2*x0) + 0.5*x1"),
        ("3*x1*cos(4*x0)*sin(4*x0)", "1.5*x1*sin(8*x0)"),
        ("x1/(cos(x0)*sin(x0))", "2*x1/sin(2*x0)"),
        ("sin(x0)*cos(x1)", "sin(x0)*cos(x1)"),
    ],
)
def test_a_sine_times_a_cosine_of_the_same_is_one_sine(given_as: str, expected: str) -> None:
    assert canonical_key(doubled(parse(given_as))) == canonical_key(parse(expected))
