"""An interval of 95 % holds the true constant in 95 of 100 cases, whatever the shape of the equation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expressions.constant_intervals import constant_intervals
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
        ends = constant_intervals(truth, inputs, target)
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
    found = constant_intervals(parse("2*x0 + 1"), x[:, None], y)
    assert found == pytest.approx(np.stack([middle - half, middle + half], axis=1), rel=1e-6)


def test_a_curved_profile_is_not_symmetric_and_may_have_no_end() -> None:
    """A saturation of which the data see the beginning alone: its level may be anything from some value on."""
    x = np.linspace(0.1, 1.0, 12)[:, None]
    rng = np.random.default_rng(1)
    target = 4.0 * x[:, 0] / (x[:, 0] + 3.0) + 0.06 * rng.normal(size=12)
    (low, high), _ = constant_intervals(parse("4*x0/(x0 + 3)"), x, target)
    assert 0 < low < 4.0
    assert high > 4.0 + 2.0 * (4.0 - low)


def test_constants_that_mean_the_same_have_no_ends() -> None:
    x = np.linspace(1, 2, 20)[:, None]
    target = 6.0 * x[:, 0] + 0.01 * np.random.default_rng(2).normal(size=20) + 1.0
    ends = constant_intervals(parse("2*(3*x0) + 1"), x, target)
    assert np.isinf(ends[:2]).all()
    assert ends[2, 0] < 1.0 < ends[2, 1]


def test_weights_say_which_rows_are_sure() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(0, 1, (400, 1))
    spread = np.where(x[:, 0] < 0.5, 0.01, 1.0)
    target = 3.0 * x[:, 0] + spread * rng.normal(size=400)
    weighted, plain = (constant_intervals(parse("3*x0"), x, target, weights=w)[0] for w in (spread**-2, None))
    assert np.ptp(weighted) < 0.1 * np.ptp(plain)
    assert weighted[0] < 3.0 < weighted[1]


def test_no_interval_where_there_are_no_rows_to_spare() -> None:
    x = np.array([[1.0], [2.0]])
    assert np.isnan(constant_intervals(parse("2*x0 + 1"), x, np.array([3.0, 5.1]))).all()
    assert constant_intervals(parse("x0"), x, np.array([3.0, 5.1])).shape == (0, 2)
