"""What is exact to the digits in which a table is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.parsing import parse
from searches.common.regression_task import RegressionTask
from searches.common.resolution import Resolution, quanta
from searches.pareto_front import EXACT_NMSE

RNG = np.random.default_rng(0)
X = RNG.uniform(1.0, 9.0, (200, 2))


def significant(values: np.ndarray, digits: int) -> np.ndarray:
    return np.array([float(f"{value:.{digits - 1}e}") for value in values.ravel()]).reshape(values.shape)


@given(st.integers(1, 9), st.integers(-3, 4), st.integers(0, 50))
def test_decimals_are_read_off(decimals: int, magnitude: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=60) * 10.0**magnitude
    written = np.round(values, decimals)
    if not np.array_equal(written, np.round(written)):
        assert quanta(written).min() == pytest.approx(10.0**-decimals, rel=1e-9)


@given(st.integers(2, 11), st.integers(0, 50))
def test_significant_digits_are_read_off(digits: int, seed: int) -> None:
    values = significant(10.0 ** np.random.default_rng(seed).uniform(-20, 20, 60), digits)
    expected = 10.0 ** (np.floor(np.log10(values)) - digits + 1)
    assert quanta(values) == pytest.approx(expected, rel=1e-9)


def test_single_precision_is_seen_and_whole_numbers_and_full_precision_are_exact() -> None:
    single = X[:, 0].astype(np.float32)
    assert np.array_equal(quanta(single.astype(float)), np.spacing(single).astype(float))
    for values in (X[:, 0], np.arange(50.0), np.arange(50.0) * 1e6):
        assert np.array_equal(quanta(values), np.spacing(np.abs(values)))


def test_the_error_of_rounding_is_the_one_that_there_is() -> None:
    """Rounding of the target, and of inputs by way of the equation; a grid of few digits has none."""
    law = parse("3*x0/x1**2")
    inputs, target = significant(X, 8), significant(law(X), 8)
    seen = np.mean(np.square(law(inputs) - target))
    assert Resolution(inputs, target).error(law) == pytest.approx(seen, rel=0.3)
    grid = np.round(X, 1)
    target = significant(law(grid), 8)
    assert Resolution(grid, target).error(law) == pytest.approx(np.mean(np.square(law(grid) - target)), rel=0.3)


@pytest.mark.parametrize("digits", [4, 6, 10])
def test_a_law_is_exact_to_the_digits_given_and_its_neighbours_are_not(digits: int) -> None:
    law = parse("3.5*x0/x1")
    task = RegressionTask(significant(X, digits), significant(law(X), digits))
    assert task.judge(law, 5).exact
    neighbour = law.with_constants(law.constants * (1 + 10.0 ** (1 - digits)))
    assert not task.judge(neighbour, 5).exact


def test_of_numbers_with_all_digits_only_the_law_is_exact() -> None:
    law = parse("3.5*x0/x1")
    task = RegressionTask(np.round(X, 1), law(np.round(X, 1)))
    assert task.judge(law, 5).rounding == EXACT_NMSE
    assert not task.judge(law.with_constants(law.constants * (1 + 1e-9)), 5).exact


def test_with_a_constant_for_every_third_row_nothing_is_exact() -> None:
    law = parse("3.5*x0 + 2.5")
    for rows, exact in ((7, True), (6, False)):
        assert RegressionTask(X[:rows], law(X[:rows])).judge(law, 5).exact is exact
