"""Measures of fit are right to the last digits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.goodness_of_fit import mae, mse, nmse, r2, rmse

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
