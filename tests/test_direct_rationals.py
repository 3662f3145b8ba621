"""Rational functions from a null space: laws are found exactly, what is none is not taken for one."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from expressions.operators import POWER_ROWS
from expressions.parsing import parse
from searches.direct.quotients import quotient
from searches.direct.rationals import find
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.links.stepwise import EXACT
from tests.direct_laws import error_of, names_of, rows

LAWS = [
    "(2*x0 + 3)/(x0**2 + 0.7)",
    "(1.3*x0**3 - 2*x0)/(x0**3 + 5*x0 + 1.1)",
    "(x0*x1 - 2.5*x1**3)/(x0**2 + 3*x1 + 0.2)",
    "2.25*x0*x1/(x1 + 0.4)",
    "(x0*x2 + 1)/(x1**3 + 2*x0*x2**2 + 0.3)",
    "(x0**2*x3 - 1.5*x1)/(2*x2**3 + x3 + 1)",
    "x0/(x1*x2**2)",
    "x0*x1/(x2 + x3)",
    "0.3*x0*x1 - 2",
]


@pytest.mark.parametrize("formula", LAWS)
def test_rational_laws_are_found_with_their_own_monomials(formula: str) -> None:
    truth = parse(formula)
    variables = max(truth.variables) + 1
    inputs = rows(0.5, 3.0, variables)
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    fresh = rows(0.5, 3.0, variables, 99)
    assert error_of(found, fresh, truth(fresh)) < 1e-24
    assert len(found) <= len(truth) + 2


def test_poles_between_the_rows_do_no_harm() -> None:
    truth = parse("(x0 + 2)/(x0*x1 - 0.35)")
    inputs = rows(-2.0, 2.0, 2)
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    fresh = rows(-2.0, 2.0, 2, 99)
    np.testing.assert_allclose(found(fresh), truth(fresh), rtol=1e-9)


def test_coefficients_are_whole_where_they_can_be() -> None:
    inputs = rows(1.0, 4.0, 3)
    truth = parse("(2.5*x0*x1 - x2**2 + 1.2)/(3*x0 + x1*x2 + 0.37)")
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    assert found.infix() == "(2.5*x0*x1 - x2**2 + 1.2)/(x1*x2 + 3*x0 + 0.37)"


@pytest.mark.parametrize(
    "formula",
    ["sqrt((x0 + 2)/(x1**2 + 1))", "exp(x0/(x1 + 0.5))", "log((x0*x1 + 2)/(x0 + 0.3))", "(x0/(x0 + x1**2))**2"],
)
def test_a_rational_function_behind_an_operator(formula: str) -> None:
    truth = parse(formula)
    inputs = rows(0.5, 2.0, 2)
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    fresh = rows(0.5, 2.0, 2, 99)
    assert error_of(found, fresh, truth(fresh)) < 1e-20


OTHERS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda x: np.exp(x[:, 0]) + x[:, 1],
    lambda x: np.exp(x[:, 0]),
    lambda x: np.tanh(x[:, 0]),
    lambda x: np.sin(2 * x[:, 0]) + np.cos(x[:, 1]),
    lambda x: np.sqrt(2.2 + x[:, 0] + x[:, 1]),
    lambda x: np.log(2.5 + x[:, 0]) * x[:, 1],
    lambda x: np.arctan(x[:, 0] * x[:, 1]),
    lambda x: np.exp(-(x[:, 0] ** 2)),
]


@pytest.mark.parametrize("other", OTHERS)
def test_no_smooth_function_is_taken_for_a_rational_one(other: Callable[[np.ndarray], np.ndarray]) -> None:
    inputs = rows(-1.0, 1.0, 2)
    target = other(inputs)
    for columns in (inputs, inputs[:, :1]):
        for found in find(columns, target, ("add", "mul", "div")):
            assert not error_of(found, columns, target) <= EXACT, found


def test_noise_brings_a_few_functions_near_the_law() -> None:
    inputs = rows(0.5, 3.0, 2)
    truth = parse("(2*x0 + 1)/(x0 + 0.5*x1**2)")
    values = truth(inputs)
    target = values + 0.02 * values.std() * np.random.default_rng(1).normal(size=len(values))
    found = list(find(inputs, target, DEFAULT_OPERATORS))
    assert 1 <= len(found) <= 2
    assert min(error_of(equation, inputs, values) for equation in found) < 2e-4
    assert all(len(equation) < 60 for equation in found)


def test_noise_leaves_the_monomials_of_the_law() -> None:
    inputs = rows(1.0, 4.0, 3)
    truth = parse("(2.5*x0*x1 - x2**2 + 1.2)/(3*x0 + x1*x2 + 0.37)")
    values = truth(inputs)
    target = values + 0.01 * values.std() * np.random.default_rng(2).normal(size=len(values))
    best = min(find(inputs, target, DEFAULT_OPERATORS), key=lambda equation: error_of(equation, inputs, target))
    assert len(best) <= len(truth) + 2
    assert error_of(best, inputs, values) < 1e-5


@pytest.mark.parametrize("scale", [1e-9, 1e12])
def test_units_of_the_columns_and_of_the_target_do_not_matter(scale: float) -> None:
    inputs = rows(0.5, 2.0, 2)
    target = scale * (inputs[:, 0] + 2) / (inputs[:, 1] ** 2 + inputs[:, 0] * 3)
    [found] = find(inputs * [scale, 1.0], target, DEFAULT_OPERATORS)
    assert error_of(found, inputs * [scale, 1.0], target) < 1e-22


def test_columns_that_say_nothing_new_do_no_harm() -> None:
    x = rows(0.5, 2.0, 1)[:, 0]
    whole = np.random.default_rng(1).integers(0, 2, len(x)).astype(float)
    inputs = np.column_stack([x, np.full_like(x, 7.0), 2 * x, whole])
    target = (3 * x + whole) / (x**2 + 2)
    found = list(find(inputs, target, DEFAULT_OPERATORS))
    assert min(error_of(equation, inputs, target) for equation in found) < 1e-24
    assert all(1 not in equation.variables for equation in found)


@pytest.mark.parametrize("count", [1, 5, 19])
def test_few_rows_tell_nothing(count: int) -> None:
    inputs = rows(0.5, 1.0, 2, count=count)
    assert not list(find(inputs, 1 / (inputs[:, 0] + 3), DEFAULT_OPERATORS))


def test_operators_that_are_not_allowed_do_not_occur() -> None:
    inputs = rows(0.5, 2.0, 2)
    law = parse("sqrt((x0 + 2)/(x1**2 + 1))")(inputs)
    free = {"neg", *POWER_ROWS.values()}
    for operators in (("add", "mul", "div"), ("add", "mul", "div", "exp"), ("add", "mul", "div", "sqrt")):
        for target in (law, np.square(law)):
            for found in find(inputs, target, operators):
                names = names_of(found)
                assert names <= {*operators, *free}
    assert not list(find(inputs, np.square(law), ("add", "mul", "sqrt")))


def test_nothing_is_begun_after_the_time() -> None:
    inputs = rows(0.5, 2.0, 2)
    target = inputs[:, 0] / (inputs[:, 1] + 1)
    assert not list(find(inputs, target, DEFAULT_OPERATORS, time.perf_counter() - 1.0))


@pytest.mark.parametrize(
    ("above", "numerator", "below", "divisor", "expected"),
    [
        ([[1, 1], [0, 0]], [2, 1], [[1, 0]], [1], "2*x1 + 1/x0"),
        ([[2, 0], [0, 0]], [1, -1], [[1, 0], [0, 0]], [1, 1], "x0 - 1"),
        ([[1, 0]], [3], [[2, 0], [1, 1]], [1, 1], "3/(x0 + x1)"),
        ([[1, 0], [0, 1]], [1, 1], [[1, 0], [0, 0]], [1, 2], "(x0 + x1)/(x0 + 2)"),
    ],
)
def test_quotients_are_spelled_short(
    above: list[list[int]], numerator: list[float], below: list[list[int]], divisor: list[float], expected: str
) -> None:
    parts = (np.array(above), np.array(numerator, float), np.array(below), np.array(divisor, float))
    found = quotient(*parts)
    inputs = rows(0.5, 2.0, 2, count=20)
    whole = (np.prod(inputs[:, None] ** parts[0], axis=2) @ parts[1]) / (
        np.prod(inputs[:, None] ** parts[2], axis=2) @ parts[3]
    )
    np.testing.assert_allclose(found(inputs), whole, rtol=1e-12)
    assert len(found) <= len(parse(expected)), found
