"""Solutions of quadratic equations: laws are found exactly, what is none is not taken for one."""

from __future__ import annotations

import time

import numpy as np
import pytest

from expressions.operators import POWER_ROWS
from expressions.parsing import parse
from searches.direct.quadratics import find
from searches.evolution.settings import DEFAULT_OPERATORS
from tests.direct_laws import error_of, names_of


def rows(seed: int = 0, count: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 3.0, (count, 3))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x0 + sqrt(x0**2 + x1)", "x0 + sqrt(x0**2 + x1)"),
        ("2*x0 - sqrt(x1*x2 + 1.5)", "2*x0 - sqrt(x1*x2 + 1.5)"),
        ("(-x1 + sqrt(x1**2 + 4*x0*x2))/(2*x0)", "(-0.5*x1 + sqrt(x0*x2 + 0.25*x1**2))/x0"),
        ("(x0 + x1 + sqrt((x0 - x1)**2 + 4*x2**2))/2", None),
        ("x0/(1 + sqrt(1 + x1))", None),
        ("x0*x1 + 3*sqrt(x2)", None),
    ],
)
def test_the_solution_that_is_meant_is_found(formula: str, expected: str | None) -> None:
    truth = parse(formula)
    inputs = rows()
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    fresh = rows(99)
    assert error_of(found, fresh, truth(fresh)) < 1e-20
    if expected is not None:
        assert found.infix() == expected


@pytest.mark.parametrize("scale", [1e-9, 1e12])
def test_units_do_not_matter(scale: float) -> None:
    inputs = rows()
    target = scale * (inputs[:, 0] + np.sqrt(inputs[:, 0] ** 2 + inputs[:, 1]))
    [found] = find(inputs, target, DEFAULT_OPERATORS)
    assert error_of(found, inputs, target) < 1e-20


@pytest.mark.parametrize(
    "other", ["sin(x0)*x1", "exp(x0) + x1", "tanh(x0)", "log(x0) + x1", "sqrt(sqrt(x0)) + x1"]
)
def test_no_other_function_is_taken_for_a_solution(other: str) -> None:
    inputs = rows()
    assert not list(find(inputs, parse(other)(inputs), DEFAULT_OPERATORS))
    assert not list(find(inputs[:, :2], parse(other)(inputs), DEFAULT_OPERATORS))


def test_noise_has_no_solution() -> None:
    inputs = rows()
    values = inputs[:, 0] + np.sqrt(inputs[:, 0] ** 2 + inputs[:, 1])
    noisy = values + 1e-3 * np.random.default_rng(1).normal(size=len(values))
    assert not list(find(inputs, noisy, DEFAULT_OPERATORS))


def test_operators_that_are_not_allowed_do_not_occur() -> None:
    inputs = rows()
    target = inputs[:, 0] + np.sqrt(inputs[:, 0] ** 2 + inputs[:, 1])
    allowed = ("add", "mul", "div", "sqrt")
    [found] = find(inputs, target, allowed)
    names = names_of(found)
    assert names <= {*allowed, "neg", *POWER_ROWS.values()}
    for left_out in allowed:
        assert not list(find(inputs, target, [name for name in allowed if name != left_out]))


def test_few_rows_and_no_time_tell_nothing() -> None:
    inputs = rows()
    target = inputs[:, 0] + np.sqrt(inputs[:, 0] ** 2 + inputs[:, 1])
    assert not list(find(inputs[:19], target[:19], DEFAULT_OPERATORS))
    assert not list(find(inputs, target, DEFAULT_OPERATORS, time.perf_counter() - 1.0))
