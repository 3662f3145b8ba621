"""Every property of every row of the operator table is what the numbers say."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import sympy
import torch

from expressions.error_function import erf, erfinv
from expressions.expression import Expression
from expressions.operator_row import FAMILIES, Operator
from expressions.operators import BY_NAME, LEADING, OPERATORS, inverted, leading_family
from expressions.parsing import ParseError, parse

GRID = np.linspace(-3.0, 3.0, 241) + 0.0137  # no two points opposite, and 0 is none of them
UNARY = [row for row in OPERATORS if row.arity == 1]
BINARY = [row for row in OPERATORS if row.arity == 2]
FACTORS = (0.37, 2.6)


def values(row: Operator, *inputs: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return row.numpy(*inputs, np.empty(np.broadcast_shapes(*(each.shape for each in inputs))))


def arguments(row: Operator) -> tuple[np.ndarray, ...]:
    """Points within the domain, away from kinks."""
    if row.arity == 1:
        own = GRID
    else:
        first, second = np.meshgrid(GRID[::8], GRID[3::8] * 0.83)
        own = np.stack([first.ravel(), second.ravel()])
    own = np.atleast_2d(own)
    inside = np.isfinite(values(row, *own)) & (np.abs(own) > 0.02).all(axis=0)
    for axis in range(row.arity):  # and so are the points beside them
        for step in (-0.01, 0.01):
            moved = own.copy()
            moved[axis] += step
            inside &= np.isfinite(values(row, *moved))
    return tuple(own[:, inside])


def by_name(row: Operator) -> str:
    return row.name


# --- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_torch_and_numpy_agree(row: Operator) -> None:
    points = arguments(row)
    assert len(points[0]) > 20
    found = row.torch(torch, *map(torch.from_numpy, points)).numpy()
    np.testing.assert_allclose(found, values(row, *points), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_partials_are_finite_differences(row: Operator) -> None:
    points = arguments(row)
    kinks = row.name in ("max", "min")
    h = 1e-5
    with np.errstate(all="ignore"):
        partials = row.partials(np, values(row, *points), *points)
    assert len(partials) == row.arity
    for axis, partial in enumerate(partials):
        above, below = list(points), list(points)
        above[axis], below[axis] = points[axis] + h, points[axis] - h
        slope = (values(row, *above) - values(row, *below)) / (2.0 * h)
        partial = np.broadcast_to(partial, slope.shape)
        near = np.abs(points[0] - points[-1]) < 1e-3 if kinks else np.zeros(len(slope), dtype=bool)
        if row.name == "pow":  # the derivative by the exponent is real for positive bases alone
            near = points[0] <= 0
        np.testing.assert_allclose(partial[~near], slope[~near], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_the_sympy_form_is_the_function(row: Operator) -> None:
    points = np.stack(arguments(row))[:, ::17][:, :9]
    symbols = sympy.symbols("x:2", real=True)[: row.arity]
    form = row.sympy(sympy, *symbols)
    places = [dict(zip(symbols, point, strict=True)) for point in points.T.tolist()]
    found = [complex(form.subs(place).evalf(20)) for place in places]
    np.testing.assert_allclose(found, values(row, *points), rtol=1e-12, atol=1e-14)
    if not row.protected:
        numbers = [sympy.Float(0.3), sympy.Float(0.7)][: row.arity]
        assert Expression.from_sympy(form, ["x0", "x1"]).to_sympy() == form
        assert Expression.from_sympy(row.sympy(sympy, *numbers)).constants.size >= 1


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_the_latex_form_is_balanced_and_the_text_reads_back(row: Operator) -> None:
    expression = Expression.apply(row.name, *(Expression.variable(k) for k in range(row.arity)))
    text = expression.latex()
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert text.count(r"\left") == text.count(r"\right")
    assert [f"x_{{{k}}}" in text for k in range(row.arity)] == [True] * row.arity
    assert parse(expression.infix()) == expression
    inner = Expression.apply(row.name, *(parse("x0 - 2*x1") for _ in range(row.arity)))
    assert parse(inner.infix()) == inner
    assert parse(Expression.apply("neg", inner).infix()) == Expression.apply("neg", inner)


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_names_in_other_programs_are_hinted_at(row: Operator) -> None:
    for spelling in row.spellings:
        assert spelling not in BY_NAME
        with pytest.raises(ParseError, match=f"did you mean {row.name}"):
            parse(f"{spelling}(x0)")


# --- properties -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", UNARY, ids=by_name)
def test_odd_and_even(row: Operator) -> None:
    plus, minus = values(row, GRID), values(row, -GRID)
    assert row.odd == np.array_equal(minus, -plus, equal_nan=True) == bool(row.odd and not row.even)
    assert row.even == np.array_equal(minus, plus, equal_nan=True)


@pytest.mark.parametrize("row", BINARY, ids=by_name)
def test_commutative(row: Operator) -> None:
    a, b = np.meshgrid(GRID, GRID[::-1] * 0.7)
    assert row.commutative == np.array_equal(values(row, a, b), values(row, b, a), equal_nan=True)
    for property_of_one_argument in ("odd", "even", "inverse", "analytic", "wave", "flat"):
        assert not getattr(row, property_of_one_argument)
    assert row.passes == "none"


@pytest.mark.parametrize("row", UNARY, ids=by_name)
def test_the_inverse_gives_the_argument_back(row: Operator) -> None:
    points = GRID[GRID > 0] if row.even else GRID
    found = values(row, points)
    points, found = points[np.isfinite(found)], found[np.isfinite(found)]
    if row.inverse is None:
        with pytest.raises(ValueError, match=f"{row.name} has no inverse"):
            inverted(row.name, found)
        # one that has none is no one-to-one function, or is one where nothing is won by inverting it
        steps = np.diff(values(row, np.linspace(0.01 if row.even else -9.0, 9.0, 999)))
        one_to_one = bool(np.nanmin(steps) > 0 or np.nanmax(steps) < 0)
        assert not one_to_one or row.protected or row.name == "abs"
        return
    np.testing.assert_allclose(inverted(row.name, found), points, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(values(row, inverted(row.name, found)), found, rtol=1e-12)
    if row.total and not row.even and not row.protected and isinstance(row.inverse, str):
        assert BY_NAME[row.inverse].arity == 1


@pytest.mark.parametrize("row", UNARY, ids=by_name)
def test_analytic(row: Operator) -> None:
    assert row.analytic == all(_is_smooth(row, centre) for centre in np.arange(-2.9, 3.0, 0.29))


def _is_smooth(row: Operator, centre: float) -> bool:
    """Whether the function, or its reciprocal, is a convergent series around a point: its coefficients fall."""
    nodes = np.cos(np.pi * (np.arange(41) + 0.5) / 41)
    found = values(row, centre + 0.2 * nodes)
    for each in (found, 1.0 / found):
        if np.isfinite(each).all():
            coefficients = np.abs(np.polynomial.chebyshev.chebfit(nodes, each, 40))
            if coefficients[-8:].max() < 1e-11 * coefficients.max():
                return True
    return False


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_total(row: Operator) -> None:
    points = np.concatenate([np.linspace(-30.0, 30.0, 301), [np.pi / 2, 0.0, 1.0, -1.0]])
    inputs = (points,) if row.arity == 1 else tuple(np.meshgrid(points, points))
    found = values(row, *inputs)
    assert row.total == bool((np.isfinite(found) & (np.abs(found) < 1e15)).all())  # beyond: a pole, rounded


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_non_negative(row: Operator) -> None:
    inputs = (GRID,) if row.arity == 1 else tuple(np.meshgrid(GRID, np.append(GRID, [-1.0, -3.0])))
    assert row.non_negative == bool(np.nanmin(values(row, *inputs)) >= 0.0)


@pytest.mark.parametrize("row", UNARY, ids=by_name)
def test_flat(row: Operator) -> None:
    found = values(row, GRID)
    found = found[np.isfinite(found)]
    assert row.flat == bool((np.diff(found) == 0.0).any())


@pytest.mark.parametrize("row", UNARY, ids=by_name)
def test_factors_that_pass(row: Operator) -> None:
    points = GRID if np.isfinite(values(row, GRID)).all() else GRID[GRID > 0] / 12.0
    plain = values(row, points)

    def passes(factor: float) -> bool:
        ratio = values(row, factor * points) / plain
        return bool(np.isfinite(ratio).all() and np.ptp(ratio) < 1e-9 * np.abs(ratio).max())

    positive, negative = all(map(passes, FACTORS)), all(passes(-factor) for factor in FACTORS)
    assert positive == (row.passes != "none")
    assert negative or row.passes != "all"


@pytest.mark.parametrize("row", UNARY, ids=by_name)
def test_waves(row: Operator) -> None:
    near, far = values(row, GRID), values(row, GRID + 2.0 * np.pi)
    repeats = np.isfinite(near).all() and np.allclose(near, far, rtol=0.0, atol=1e-12)
    assert row.wave == bool(repeats and np.ptp(near) < 10.0)


@pytest.mark.parametrize("row", OPERATORS, ids=by_name)
def test_families(row: Operator) -> None:
    assert row.family in FAMILIES
    steps = np.arange(16) * 0.25 + 0.3
    inputs = (steps,) if row.arity == 1 else (steps, 1.7 - 0.4 * steps)
    of_row = values(row, *inputs)
    differences = np.diff(of_row, n=11)  # 0 for polynomials of degree 10
    finite = bool(np.isfinite(differences).all())
    polynomial = finite and bool(np.abs(differences).max() < 1e-10 * np.abs(of_row).max())
    if row.name not in ("abs", "max", "min"):  # lines between their kinks
        assert (row.family == "polynomial") == polynomial
    assert row.protects is None or row.family == BY_NAME[row.protects].family


def test_the_leading_family_of_a_program() -> None:
    expected = {
        "sin(x0)*exp(x1)": "both", "sin(sqrt(x0))": "trigonometric", "erf(x0)/x1": "exp or log",
        "log10(x0) + cbrt(x1)": "exp or log", "abs(x0)/x1": "root", "x0**1.5": "root", "max(x0, x1)": "root",
        "cbrt(x0)": "root", "1/x0": "rational", "x0*x1 - 2": "polynomial", "3": "polynomial",
    }  # fmt: skip
    assert {text: leading_family(parse(text).tokens.tolist()) for text in expected} == expected
    assert set(expected.values()) == set(LEADING)


def test_protected_rows_name_what_they_protect() -> None:
    protected = {row.name: row.protects for row in OPERATORS if row.protected}
    assert protected == {"safe_div": "div", "safe_sqrt": "sqrt", "safe_log": "log"}


# --- the error function -----------------------------------------------------------------------------------------


def test_the_error_function_is_accurate_to_the_last_digits() -> None:
    x = np.concatenate([np.linspace(-7.0, 7.0, 20_001), np.logspace(-300, 0, 500), [0.46875, -0.46875, 6.0]])
    expected = np.array([math.erf(value) for value in x.tolist()])
    ulps = np.abs(erf(x, np.empty_like(x)) - expected) / np.spacing(np.abs(expected))
    assert ulps.max() <= 4.0
    assert ulps.mean() < 0.5


def test_the_error_function_at_the_edges() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e308])
    found = erf(x, np.empty_like(x))
    assert np.isnan(found[4])
    assert found[[0, 1, 2, 3, 6]].tolist() == [0.0, -0.0, 1.0, -1.0, 1.0]
    assert np.signbit(found).tolist()[:2] == [False, True]
    for dtype in (np.float32, np.float64):
        column = np.linspace(-4.0, 4.0, 50, dtype=dtype).reshape(5, 10)
        out = np.empty_like(column)
        assert erf(column, out) is out
        np.testing.assert_allclose(out, np.vectorize(math.erf)(column), rtol=4 * np.finfo(dtype).eps)


def test_the_inverse_of_the_error_function() -> None:
    y = np.concatenate([np.linspace(-0.9999, 0.9999, 1001), [1e-300, 1.0 - 1e-12]])
    x = erfinv(y)
    np.testing.assert_allclose(erf(x, np.empty_like(x)), y, rtol=1e-15, atol=2e-16)
    assert not np.isfinite(erfinv(np.array([1.0, -1.0, 1.5]))).any()
