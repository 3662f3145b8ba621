"""Functions of polynomials beside and times each other: found exactly, and spelled without a constant too many."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest

from searches.direct.composition_models import FUNCTIONS, Models, fitted
from searches.direct.compositions import find
from searches.direct.kinds import KINDS
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.links.stepwise import EXACT
from tests.direct_laws import Law, equations_of, error_of, names_of, table_of

table, found = partial(table_of, low=0.0, high=3.0), partial(equations_of, find)


LAWS: dict[str, tuple[Law, int]] = {  # and constants of the spelling that is asked for
    "exponential times a sum": (lambda x, z: np.exp(0.4 * x - 0.3 * z**2) * (1.5 * z + 0.7), 5),
    "sine times cosine": (lambda x, z: np.sin(1.3 * x + 0.4 * z**2) * np.cos(1.7 * z - 0.8), 4),
    "root over a sum": (lambda x, z: np.sqrt(1.4 * x + 1.9) / (z + 0.3 * x**2 + 0.5), 4),
    "two logarithms": (lambda x, z: np.log(1.9 * x**2 + 1.2) + 0.6 * np.log(1.2 * z + 2.0), 4),
    "tanh times a square": (lambda x, z: np.tanh(0.8 * x - 1.0) * (0.6 * z**2), 3),
    "logarithm and cosine": (lambda x, z: np.log(1.2 * x + 0.4 * x * z + 1.9) + 0.9 * np.cos(1.4 * z), 5),
    "root and a line": (lambda x, z: np.sqrt(0.8 * x + 0.3 * x * z + 1.5) + 1.3 * z + 1.7, 5),
    "root of a tanh": (lambda x, z: np.sqrt(np.tanh(0.7 * x - 0.5 * z) + 1.2), 3),
    "exponential of a sine": (lambda x: np.exp(1.4 * np.sin(0.7 * x**2 - 0.4)), 3),
}


@pytest.mark.parametrize("name", LAWS)
def test_compositions_are_found_exactly_with_no_constant_too_many(name: str) -> None:
    law, constants = LAWS[name]
    inputs, target = table(law)
    equations = [each for each in found(inputs, target) if error_of(each, inputs, target) < EXACT]
    assert equations
    assert min(len(each.constants) for each in equations) <= constants
    fresh = np.random.default_rng(4).uniform(0, 3, inputs.shape)
    assert error_of(equations[0], fresh, law(*fresh.T)) < EXACT


@pytest.mark.parametrize("variables", [1, 3])
def test_pure_noise_brings_nothing_exact(variables: int) -> None:
    rng = np.random.default_rng(0)
    inputs, target = rng.uniform(-1, 1, (200, variables)), rng.normal(size=200)
    assert all(error_of(each, inputs, target) > 0.3 for each in found(inputs, target))


def test_a_law_under_noise_loses_the_terms_that_the_data_do_not_need() -> None:
    inputs, target = table(lambda x, z: np.exp(0.8 * x - 0.3 * z**2) * (1.5 * z + 0.7))
    noise = 0.02 * target.std() * np.random.default_rng(0).normal(size=len(target))
    equations = found(inputs, target + noise)
    best = min(equations, key=lambda each: error_of(each, inputs, target))
    assert error_of(best, inputs, target) < 2e-4  # half of the noise
    assert len(best.constants) <= 7  # the law has 4, and 13 as it was fitted


def test_operators_that_are_not_allowed_do_not_occur() -> None:
    inputs, target = table(LAWS["logarithm and cosine"][0])
    for allowed in (("add", "mul", "log", "sin"), ("add", "mul", "exp", "tanh"), ("add", "mul", "div", "cos")):
        equations = found(inputs, target, allowed)
        for equation in equations:
            assert names_of(equation) <= {*allowed, "square"}
    assert any(
        error_of(each, inputs, target) < EXACT for each in found(inputs, target, ("add", "mul", "log", "sin"))
    )
    assert not found(inputs, target, ("add", "mul", "sub"))


def test_time_that_is_over_ends_the_fits() -> None:
    inputs, target = table(LAWS["two logarithms"][0])
    assert not list(find(inputs, target, DEFAULT_OPERATORS, time.perf_counter() - 1.0))


def test_the_same_table_gives_the_same_equations() -> None:
    inputs, target = table(lambda x, z: np.exp(np.sin(2 * x) / (1 + z)) + np.log(1 + x * z), count=60)
    equations = found(inputs, target)
    assert equations
    assert found(inputs, target) == equations


@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives_are_those_of_the_values(function: str) -> None:
    points, step = np.array([0.3, 0.9, 1.7, -1.1]), 1e-6
    values, slopes = FUNCTIONS[function](points)
    difference = (FUNCTIONS[function](points + step)[0] - FUNCTIONS[function](points - step)[0]) / (2 * step)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(slopes, difference, rtol=1e-7)


@pytest.mark.parametrize("careful", [False, True])
def test_a_fit_keeps_what_is_not_free_at_zero(careful: bool) -> None:
    x = np.random.default_rng(0).uniform(0, 2, 100)
    monomials = np.stack([np.ones(100), x, x * x])
    begun = Models.begun("plus", np.array([1]), np.array([-1]), np.array([[[0.0, 0.9, 0.0]]]))  # exp
    begun.inner_free[0, 0] = [False, True, False]
    begun.linear_free[0, 1:3] = False
    done = fitted(begun, monomials, 3.0 + 2.0 * np.exp(0.7 * x), 20, careful)
    assert done.inner[0, 0, [0, 2]].tolist() == [0.0, 0.0]
    assert done.inner[0, 0, 1] == pytest.approx(0.7)
    assert done.errors[0] < EXACT


def test_compositions_are_a_kind_and_the_last() -> None:
    assert list(KINDS)[-1] == "compositions"
    assert KINDS["compositions"] is find
