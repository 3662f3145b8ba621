"""An interval of 95 % holds the true constant in 95 of 100 cases, whatever the shape of the equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expressions.constant_intervals import ConstantIntervals, _quantile, constant_intervals
from expressions.interval_text import interval_latex, interval_text, resolved
from expressions.measurements import Measurements
from expressions.parsing import parse


@pytest.mark.parametrize("rows", [12, 100])
@pytest.mark.parametrize(
    ("law", "low", "high", "noise"),
    [
        ("2.5*x0 - 1.5", 0.0, 3.0, 0.5),
        ("12.5*x0/(x0 + 1.75)", 0.2, 9.0, 0.4),
        ("3.5*exp(-1.25*x0) + 0.5", 0.0, 3.0, 0.15),
        ("1.5*sin(2.25*x0 + 0.4)", 0.0, 6.0, 0.3),
    ],
)
def test_coverage(law: str, low: float, high: float, noise: float, rows: int) -> None:
    rng = np.random.default_rng(3)
    truth = parse(law)
    tables, held = 40, 0
    for _ in range(tables):
        inputs = rng.uniform(low, high, (rows, 1))
        target = truth(inputs) + noise * rng.normal(size=rows)
        ends = constant_intervals(truth, inputs, target).ends
        held += int(np.sum((ends[:, 0] <= truth.constants) & (truth.constants <= ends[:, 1])))
    count = tables * len(truth.constants)
    three_deviations = 3.0 * math.sqrt(0.95 * 0.05 / tables)  # the constants of one table go together
    assert held / count == pytest.approx(0.95, abs=three_deviations)


def test_of_a_straight_line_they_are_those_of_linear_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 15)
    y = 2.0 * x + 1.0 + 0.1 * rng.normal(size=15)
    columns = np.stack([x, np.ones(15)], axis=1)
    middle, [squares], *_ = np.linalg.lstsq(columns, y)
    covariance = np.linalg.inv(columns.T @ columns) * squares / 13
    half = 2.1603686564610127 * np.sqrt(np.diag(covariance))  # Student's t of 13 degrees of freedom
    found = constant_intervals(parse("2*x0 + 1"), x[:, None], y).ends
    assert found == pytest.approx(np.stack([middle - half, middle + half], axis=1), rel=1e-6)


def test_a_curved_profile_is_not_symmetric_and_may_have_no_end() -> None:
    """A saturation of which the data see the beginning alone: its level may be anything from some value on."""
    x = np.linspace(0.1, 1.0, 12)[:, None]
    rng = np.random.default_rng(1)
    target = 4.0 * x[:, 0] / (x[:, 0] + 3.0) + 0.06 * rng.normal(size=12)
    (low, high), _ = constant_intervals(parse("4*x0/(x0 + 3)"), x, target).ends
    assert 0 < low < 4.0
    assert high > 4.0 + 2.0 * (4.0 - low)


def test_constants_that_mean_the_same_have_no_ends() -> None:
    x = np.linspace(1, 2, 20)[:, None]
    target = 6.0 * x[:, 0] + 0.01 * np.random.default_rng(2).normal(size=20) + 1.0
    ends = constant_intervals(parse("2*(3*x0) + 1"), x, target).ends
    assert np.isinf(ends[:2]).all()
    assert ends[2, 0] < 1.0 < ends[2, 1]


def test_weights_say_which_rows_are_sure() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(0, 1, (400, 1))
    spread = np.where(x[:, 0] < 0.5, 0.01, 1.0)
    target = 3.0 * x[:, 0] + spread * rng.normal(size=400)
    weighted, plain = (constant_intervals(parse("3*x0"), x, target, weights=w).ends[0] for w in (spread**-2, None))
    assert np.ptp(weighted) < 0.1 * np.ptp(plain)
    assert weighted[0] < 3.0 < weighted[1]


def test_no_interval_where_there_are_no_rows_to_spare() -> None:
    x = np.array([[1.0], [2.0]])
    assert np.isnan(constant_intervals(parse("2*x0 + 1"), x, np.array([3.0, 5.1])).ends).all()
    assert constant_intervals(parse("x0"), x, np.array([3.0, 5.1])).ends.shape == (0, 2)


def test_of_unequal_errors_they_are_those_of_the_sandwich() -> None:
    """HC3 of a straight line, written out; equal errors are taken for that in 9 of 10 cases."""
    rng = np.random.default_rng(10)
    line, x = parse("2*x0 + 1"), rng.uniform(0, 3, 200)
    y = 2.0 * x + 1.0 + 0.2 * x * rng.normal(size=200)
    found = constant_intervals(line, x[:, None], y)
    assert found.unequal
    columns = np.stack([x, np.ones(200)], axis=1)
    inverse = np.linalg.inv(columns.T @ columns)
    residuals = y - columns @ (inverse @ columns.T @ y)
    pushed = columns * (residuals / (1.0 - np.sum((columns @ inverse) * columns, axis=1)))[:, None]
    assert found.covariance == pytest.approx(inverse @ pushed.T @ pushed @ inverse, rel=1e-6)
    half = found.quantile * np.sqrt(np.diag(found.covariance))
    assert np.ptp(found.ends, axis=1) == pytest.approx(2.0 * half, rel=1e-6)
    assert not constant_intervals(line, x[:, None], y, weights=x**-2.0).unequal
    alike = (constant_intervals(line, x[:, None], columns @ [2.0, 1.0] + rng.normal(size=200)) for _ in range(50))
    assert sum(each.unequal for each in alike) <= 12


def test_of_unequal_errors_a_long_table_says_what_its_part_says() -> None:
    rng = np.random.default_rng(11)
    x = rng.uniform(0, 3, (12_000, 1))
    y = 2.0 * x[:, 0] + 0.2 * x[:, 0] * rng.normal(size=12_000)
    [slope], *_ = np.linalg.lstsq(x, y)
    some = Measurements.of(x, y).intervals(parse(f"{float(slope)!r}*x0"))
    everything = constant_intervals(parse("2*x0"), x, y)
    assert some.unequal
    assert np.ptp(some.ends) == pytest.approx(np.ptp(everything.ends), rel=0.1)


def test_where_derivatives_overflow_nothing_is_known() -> None:
    x = 1e200 * np.linspace(1.0, 2.0, 20)[:, None]
    equation = parse("sin(2.0*x0)")
    found = constant_intervals(equation, x, equation(x) + 0.1 * np.random.default_rng(9).normal(size=20))
    assert np.isnan(found.ends).all()
    assert np.isnan(found.curve(equation, x)).all()


def test_a_band_is_known_where_a_derivative_is_nothing_over_nothing() -> None:
    x = np.linspace(0.0, 1.0, 20)[:, None]
    equation = parse("sqrt(2.0*x0)")
    found = constant_intervals(equation, x, equation(x) + 0.01 * np.random.default_rng(9).normal(size=20))
    band = found.curve(equation, x)
    assert band[0] == 0.0  # whatever the constant, the equation is 0 there
    assert (band[1:] > 0).all()


def test_known_errors_are_taken_as_they_are() -> None:
    """Of one constant they give the mean by chi square; of relative weights, the residuals tell the width."""
    rng = np.random.default_rng(6)
    x, sigma = rng.uniform(1, 2, (50, 1)), rng.uniform(0.1, 0.3, 50)
    target = 3.0 * x[:, 0] + 5.0 * sigma * rng.normal(size=50)  # five times as large as said
    known, relative = (Measurements.of(x, target, *how, **named).intervals(parse("3*x0")) for how, named in (
        ((), {"sigma": sigma}), ((sigma**-2.0,), {})
    ))  # fmt: skip
    half = 1.959963984540054 / math.sqrt(np.sum((x[:, 0] / sigma) ** 2))
    assert known.ends[0] == pytest.approx(known.constants[0] + half * np.array([-1.0, 1.0]), rel=1e-6)
    assert 4.0 < known.excess < 6.0
    assert np.ptp(relative.ends) / np.ptp(known.ends) == pytest.approx(
        known.excess * 2.009575 / 1.959964, rel=1e-4
    )
    larger = Measurements.of(x, target, 100.0 * sigma**-2.0).intervals(parse("3*x0"))
    assert larger.ends == pytest.approx(relative.ends, rel=1e-9)
    assert math.isnan(relative.excess)


def test_a_row_that_stands_for_several_is_as_good_as_these() -> None:
    rng = np.random.default_rng(7)
    x = rng.uniform(0, 1, (30, 1))
    target = 2.0 * x[:, 0] + 1.0 + 0.1 * rng.normal(size=30)
    times = rng.integers(1, 4, 30)
    each = Measurements.of(np.repeat(x, times, axis=0), np.repeat(target, times)).intervals(parse("2*x0 + 1"))
    merged = Measurements.of(x, target, times.astype(float), count=int(times.sum())).intervals(parse("2*x0 + 1"))
    assert merged.ends == pytest.approx(each.ends, rel=1e-6)


def test_intervals_of_a_long_table_hold_the_truth_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of its rows are looked at, but the middle is that of the fit to all of them."""
    monkeypatch.setattr("expressions.measurements._MOST_ROWS", 40)
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        inputs = rng.uniform(0.0, 2.0, (1000, 1))
        target = 1.5 * inputs[:, 0] + 0.3 * rng.normal(size=1000)
        slope = float(inputs[:, 0] @ target / np.square(inputs).sum())
        [[low, high]] = Measurements.of(inputs, target).intervals(parse(f"{slope!r}*x0")).ends
        held += low < 1.5 < high
    assert held >= 178  # three standard deviations below 190


def test_bands_of_a_straight_line_are_those_of_linear_regression() -> None:
    rng = np.random.default_rng(8)
    x = rng.uniform(0, 1, 20)
    y = 2.0 * x + 1.0 + 0.1 * rng.normal(size=20)
    columns = np.stack([x, np.ones(20)], axis=1)
    _, [squares], *_ = np.linalg.lstsq(columns, y)
    places = np.array([[0.5], [3.0]])
    along = np.stack([places[:, 0], np.ones(2)], axis=1)
    leverage = np.sum(along @ np.linalg.inv(columns.T @ columns) * along, axis=1)
    found = constant_intervals(parse("2*x0 + 1"), x[:, None], y)
    expected = 2.1009220402410 * np.sqrt(squares / 18)
    assert found.curve(parse("2*x0 + 1"), places) == pytest.approx(expected * np.sqrt(leverage), rel=1e-6)
    assert found.measurement(parse("2*x0 + 1"), places) == pytest.approx(
        expected * np.sqrt(1.0 + leverage), rel=1e-6
    )


@pytest.mark.parametrize(
    ("numbers", "text", "latex"),
    [
        ((1.6131, 1.5812, 1.645), "1.613 ± 0.032", r"\left(1.613 \pm 0.032\right)"),
        ((1.6131, 1.5512, 1.7242), "1.613 (1.551 to 1.724)", r"\left(1.613^{+0.111}_{-0.062}\right)"),
        ((4.123, 0.9, math.inf), "4.1 (from 0.9)", r"\left(4.1^{+\infty}_{-3.2}\right)"),
        ((2.0, -math.inf, 3.04), "2.0 (up to 3.0)", r"\left(2.0^{+1.0}_{-\infty}\right)"),
        (
            (8.3142e-31, 8.1e-31, math.inf),
            "8.31e-31 (from 8.1e-31)",
            r"\left(8.31^{+\infty}_{-0.21}\right) \cdot 10^{-31}",
        ),
        ((2.0, -math.inf, math.inf), "2 (any other would do)", None),
        ((2.0, math.nan, math.nan), "2", None),
        ((0.0, -0.1, 0.1), "0.00 ± 0.10", r"\left(0.00 \pm 0.10\right)"),
        ((65_781.3, 62_681.0, 68_881.6), "65800 ± 3100", r"\left(65800 \pm 3100\right)"),
        ((8.3142e-31, 8.2e-31, 8.4284e-31), "(8.31 ± 0.11)e-31", r"\left(8.31 \pm 0.11\right) \cdot 10^{-31}"),
    ],
)
def test_a_constant_has_the_digits_that_its_interval_resolves(
    numbers: tuple[float, float, float], text: str, latex: str | None
) -> None:
    assert interval_text(*numbers) == text
    assert interval_latex(numbers[0], numbers[1:]) == latex


def test_numbers_of_a_stranger_give_bands_without_an_error() -> None:
    equation, x = parse("3.5*x0"), np.ones((2, 1))
    ends, covariance = np.array([[3.0, 4.0]]), np.array([[0.1]])
    for noise, freedom, level in ((1e308, 29.0, 0.95), (0.1, 1e308, 0.95), (0.1, 0.0, 0.95), (0.1, 29.0, 1.0)):
        found = ConstantIntervals(equation.constants, ends, covariance, noise, freedom, level)
        assert found.measurement(equation, x).shape == found.curve(equation, x).shape == (2,)


@given(*[st.floats(allow_nan=True)] * 3)
@example(0.0, -5e-324, 5e-324)
@example(1.7e308, -1.7e308, 1.7e308)
@example(5e-324, 0.0, 1.0)
def test_any_numbers_are_written(value: float, low: float, high: float) -> None:
    assert interval_text(value, low, high)
    assert len(resolved(value, low, high)) == 3
    latex = interval_latex(abs(value), (low, high))
    assert latex is None or latex.startswith(r"\left(")


def test_numbers_with_the_digits_that_are_resolved() -> None:
    assert resolved(1.6131, 1.58123, 1.64501) == (1.613, 1.581, 1.645)
    assert resolved(4.123, 0.91234, math.inf) == (4.1, 0.9, math.inf)
    assert resolved(2.123456789, -math.inf, math.inf) == (2.123456789, -math.inf, math.inf)


def test_latex_has_the_interval_at_its_constant_whatever_becomes_of_the_sign() -> None:
    equation = parse("2.3456*x0 - 0.5*exp(x0/1.61) + x0**-1.5")
    ends = [(2.30, 2.39), (0.42, 0.53), (1.4, 1.7), (-1.54, -1.455)]
    text = equation.latex(intervals=ends)
    assert text.startswith(r"\left(2.346^{+0.044}_{-0.046}\right) \, x_{0} - \left(0.500^{+0.030}_{-0.080}\right)")
    assert r"{-\left(1.500^{+0.040}_{-0.045}\right)}" in text
    negative = parse("x0 + -2.0*x1")  # printed as a difference: the ends change places
    assert r"- \left(2.00^{+0.20}_{-0.10}\right)" in negative.latex(intervals=[(-2.2, -1.9)])


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("freedom", [3, 999, 1_000, 10_000, 1_000_000, math.inf])
def test_the_quantile_is_students(level: float, freedom: float) -> None:
    from scipy.special import ndtri, stdtrit

    upper = (1 + level) / 2
    expected = ndtri(upper) if math.isinf(freedom) else stdtrit(freedom, upper)
    assert _quantile(level, freedom) == pytest.approx(expected, rel=1e-7)
