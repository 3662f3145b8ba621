"""Polynomials by least squares over monomials: laws are found exactly, what is none is not taken for one."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from expressions.operators import POWER_ROWS
from expressions.parsing import parse
from searches.direct.elimination import compressed
from searches.direct.monomials import below, legendre, monomials, polynomial, power_products
from searches.direct.noisy_polynomials import noisy_sums
from searches.direct.polynomials import find
from searches.direct.short_numbers import shortened, text_lengths
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.links.stepwise import EXACT
from tests.direct_laws import error_of, names_of, rows


@pytest.mark.parametrize("seed", range(6))
def test_sparse_polynomials_are_found_with_their_own_monomials(seed: int) -> None:
    rng = np.random.default_rng(seed)
    variables, degree = ((1, 10), (2, 9), (3, 6), (4, 5), (6, 4), (8, 4))[seed]
    candidates = monomials(variables, degree)
    chosen = candidates[np.sort(rng.choice(np.arange(1, len(candidates)), 6, replace=False))]
    truth = polynomial(chosen, rng.uniform(0.5, 5.0, 6) * rng.choice([-1, 1], 6))
    inputs = rows(-1.5, 2.5, variables, seed)
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    fresh = rows(-1.5, 2.5, variables, 99)
    assert error_of(found, fresh, truth(fresh)) < 1e-24
    assert len(found.constants) <= len(truth.constants) + 1


def test_coefficients_and_exponents_are_those_of_the_law() -> None:
    inputs = rows(-1.5, 2.0, 1)
    truth = parse("3*x0**10 - 2*x0**9 + 1.5*x0**7 - 4*x0**5 + x0**4 + 0.7*x0**2 - x0")
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    assert found.infix() == "3*x0**10 - 2*x0**9 + 1.5*x0**7 - 4*x0**5 + x0**4 + 0.7*x0**2 - x0"


def test_far_from_zero_the_monomials_are_still_told_apart() -> None:
    inputs = rows(1.0, 5.0, 1)
    truth = parse("-3*x0**10 - 5.7*x0**4 + 0.1657235322999148*x0**6 + 4*x0")
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    np.testing.assert_allclose(np.sort(found.constants), np.sort([-3, 0.1657235322999148, -5.7, 4]), rtol=1e-8)


@pytest.mark.parametrize(
    "formula",
    [
        "sqrt(2*x0**3 + x0*x1 + 1)",
        "exp(x0**2 - 3*x0*x1 + 0.5)",
        "log(x0**4 + 2*x1 + 1)",
        "1/(x0**3*x1 + 2*x1**2 + 3)",
        "(x0**2*x1 + x1**3 + 1)**2",
    ],
)
def test_a_polynomial_behind_an_operator(formula: str) -> None:
    truth = parse(formula)
    inputs = rows(0.5, 2.0, 2)
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    fresh = rows(0.5, 2.0, 2, 99)
    assert error_of(found, fresh, truth(fresh)) < 1e-24


OTHERS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda x: np.exp(x[:, 0]) + x[:, 1],
    lambda x: np.sin(4 * x[:, 0]) * x[:, 1],
    lambda x: np.cos(x[:, 0] * x[:, 1]),
    lambda x: np.sqrt(2.2 + x[:, 0] + x[:, 1]),
    lambda x: np.tanh(x[:, 0]) - 0.3 * np.tanh(x[:, 1]),
    lambda x: np.abs(x[:, 0]) + x[:, 1] ** 2,
    lambda x: np.log(1.5 + x[:, 0] ** 2) * x[:, 1],
    lambda x: np.exp(0.3 * x[:, 0]),
]


@pytest.mark.parametrize("other", OTHERS)
def test_no_other_function_is_taken_for_a_polynomial(other: Callable[[np.ndarray], np.ndarray]) -> None:
    inputs = rows(-1.0, 1.0, 2)
    target = other(inputs)
    for columns in (inputs, inputs[:, :1]):
        for found in find(columns, target, tuple(set(DEFAULT_OPERATORS) - {"exp", "log", "sqrt", "tanh"})):
            assert not error_of(found, columns, target) <= EXACT, found


def test_noise_brings_a_few_polynomials_near_the_law() -> None:
    inputs = rows(-2.0, 2.0, 2)
    truth = parse("2*x0**2*x1 - 3*x1**2 + x0")
    values = truth(inputs)
    target = values + 0.05 * values.std() * np.random.default_rng(1).normal(size=len(values))
    found = list(find(inputs, target, DEFAULT_OPERATORS))
    assert 1 <= len(found) <= 3
    assert min(error_of(equation, inputs, values) for equation in found) < 2e-4
    assert any(equation.variables == (0, 1) and len(equation.constants) == 3 for equation in found)


@pytest.mark.parametrize("scale", [1e-9, 1e12])
def test_units_of_the_columns_and_of_the_target_do_not_matter(scale: float) -> None:
    inputs = rows(0.5, 2.0, 2)
    target = (inputs[:, 0] ** 3 * inputs[:, 1] - 2 * inputs[:, 1] ** 2 + 4) * scale
    [found] = find(inputs * [scale, 1.0], target, DEFAULT_OPERATORS)
    assert error_of(found, inputs * [scale, 1.0], target) < 1e-24


def test_columns_that_say_nothing_new_do_no_harm() -> None:
    x = rows(-1.0, 1.0, 1)[:, 0]
    whole = np.random.default_rng(1).integers(0, 2, len(x)).astype(float)
    inputs = np.column_stack([x, np.full_like(x, 7.0), 2 * x, whole])
    target = 3 * x**4 - x * whole + 2 * whole
    found = list(find(inputs, target, DEFAULT_OPERATORS))
    assert min(error_of(equation, inputs, target) for equation in found) < 1e-24
    assert all(1 not in equation.variables for equation in found)


@pytest.mark.parametrize("count", [1, 5, 11])
def test_few_rows_tell_nothing(count: int) -> None:
    inputs = rows(-1.0, 1.0, 2, count=count)
    assert not list(find(inputs, inputs[:, 0] ** 2, DEFAULT_OPERATORS))


def test_operators_that_are_not_allowed_do_not_occur() -> None:
    inputs = rows(0.5, 2.0, 2)
    law = parse("sqrt(2*x0**3 + x0*x1**2 + 1)")(inputs)
    free = {"neg", *POWER_ROWS.values()}  # powers and signs are
    for operators in (("add", "mul"), ("add", "mul", "exp"), ("add", "mul", "sqrt"), ("add",), ("mul", "sqrt")):
        for target in (law, np.square(law)):
            for found in find(inputs, target, operators):
                assert names_of(found) <= {*operators, *free}
    assert not list(find(inputs, np.square(law), ("add", "sqrt")))


def test_nothing_is_begun_after_the_time() -> None:
    inputs = rows(-1.0, 1.0, 2)
    assert not list(find(inputs, inputs[:, 0] ** 3 - inputs[:, 1], DEFAULT_OPERATORS, time.perf_counter() - 1.0))


# --- parts ------------------------------------------------------------------------------------------------------


def test_monomials_are_all_and_by_rising_degree() -> None:
    found = monomials(3, 4)
    assert found.shape == (35, 3)
    assert len({tuple(row) for row in found.tolist()}) == 35
    assert (np.diff(found.sum(axis=1)) >= 0).all()
    assert found.sum(axis=1).max() == 4


def test_the_basis_spans_the_monomials_and_is_orthogonal() -> None:
    inputs = rows(3.0, 7.0, 2, count=20_000)
    exponents = monomials(2, 4)
    basis = legendre(inputs, exponents)
    np.testing.assert_allclose(basis.T @ basis / len(inputs), np.eye(len(exponents)), atol=0.1)
    powers = power_products(inputs, exponents)
    left = powers - basis @ np.linalg.lstsq(basis, powers, rcond=None)[0]
    assert np.abs(left).max() < 1e-9 * np.abs(powers).max()
    np.testing.assert_array_equal(powers[:, 4], inputs[:, 0] * inputs[:, 1])


def test_divisors_of_monomials() -> None:
    exponents = monomials(2, 3)
    marked = (exponents == [2, 1]).all(axis=1)
    assert sorted(map(tuple, exponents[below(exponents, marked)].tolist())) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]


def test_elimination_keeps_the_columns_that_are_needed() -> None:
    rng = np.random.default_rng(3)
    design = rng.normal(size=(200, 40))
    target = 2 * design[:, 7] - 0.5 * design[:, 30] + 1e-9 * rng.normal(size=200)
    fit = compressed(design, target).eliminated(64.0)
    assert fit.columns.tolist() == [7, 30]
    np.testing.assert_allclose(fit.coefficients, [2, -0.5], atol=1e-8)
    assert (np.abs(fit.coefficients - [2, -0.5]) < 6 * fit.spreads).all()


def test_sums_under_noise_have_the_columns_of_the_law() -> None:
    rng = np.random.default_rng(3)
    design = rng.normal(size=(200, 400))
    target = 2 * design[:, 7] - 0.5 * design[:, 30] + 0.1 * rng.normal(size=200)
    [best] = noisy_sums(design, target, 0.02)
    assert sorted(best[0].tolist()) == [7, 30]
    np.testing.assert_allclose(np.sort(best[1]), [-0.5, 2], atol=0.05)
    assert [len(columns) for columns, _ in noisy_sums(design, target, 10.0)] == [2, 1]
    assert not list(noisy_sums(design, target, 0.005))  # it leaves more than that


def test_an_exchange_makes_good_for_a_first_choice() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 200))
    design = np.column_stack([first, second, first + second + 0.3 * rng.normal(size=200)])
    target = first + second + 0.01 * rng.normal(size=200)
    assert [0, 1] in [sorted(columns.tolist()) for columns, _ in noisy_sums(design, target, 1.0)]


def test_numbers_are_rounded_within_their_spread_alone() -> None:
    values = np.array([2.9999999, 0.33333333, 1.2345678, -7.5000001, 1e-20, 123456.7])
    found = shortened(values, np.full(6, 1e-7) * [1, 1, 1e-9, 1, 1e-20, 1])
    assert found.tolist() == [3.0, 1 / 3, 1.2345678, -7.5, 1e-20, 123456.7]
    assert shortened(np.array([2.9999999]), np.array([1e-12])).tolist() == [2.9999999]


def test_texts_of_numbers_are_compared_by_length() -> None:
    values = np.array([1.0, -1.0, 2.5, 500.0, 0.37, 12.0, 1 / 3])
    assert text_lengths(values, np.zeros(7)).tolist()[:6] == [0, 0, 2, 3, 3, 2]
    assert text_lengths(values, np.zeros(7))[6] > 10


@pytest.mark.parametrize("seed", [1, 7])
def test_of_few_rows_a_law_has_no_terms_of_rounding(seed: int) -> None:
    """31 rows of 4 columns, fewer than the monomials up to the law's degree: it is chosen among them."""
    inputs = rows(-2.0, 1.0, 4, seed, 31)
    truth = parse("x0*x3*(2.17*x1 - 1.237*x0 - 1.7*x2**2)")
    [found] = find(inputs, truth(inputs), DEFAULT_OPERATORS)
    assert sorted(np.abs(found.constants)) == [1.237, 1.7, 2.17]
