"""Power laws by linear algebra: exponents as they were drawn, written as powers, with the operators allowed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.canonical_form import canonical
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.operators import POWER_ROWS, TOKEN
from searches.common.broken_powers import as_broken_powers
from searches.direct.power_laws import find
from searches.evolution.settings import DEFAULT_OPERATORS

EXPONENTS = st.sampled_from([-3.0, -2.0, -1.5, -1.0, -0.655, -0.5, 1 / 3, 0.25, 0.45, 1.0, 1.85, 2.0, 2.5])


def table(columns: int, seed: int = 0, rows: int = 200) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).uniform(-1.0, 2.0, (rows, columns)))


def best(inputs: np.ndarray, target: np.ndarray, operators: tuple[str, ...] = DEFAULT_OPERATORS) -> Expression:
    """The equation of lowest error, the shorter of two exact ones."""
    with np.errstate(all="ignore"):
        found = list(find(inputs, target, operators, math.inf))
        return min(found, key=lambda one: (max(nmse(target, one(inputs)), 1e-22), len(one)))


def is_exact(equation: Expression, inputs: np.ndarray, target: np.ndarray) -> bool:
    return nmse(target, equation(inputs)) < 1e-20


@settings(max_examples=40, deadline=None)
@given(st.lists(EXPONENTS, min_size=1, max_size=5), st.sampled_from([-9.0, 1e-3, 1.0, 8.25]), st.integers(-9, 9))
def test_a_product_of_powers_has_its_own_exponents(exponents: list[float], scale: float, decades: int) -> None:
    inputs = table(len(exponents)) * 10.0**decades
    target = np.prod(inputs**exponents, axis=1) * scale
    equation = best(inputs, target)
    assert is_exact(equation, inputs, target)
    assert "log" not in equation.infix()
    written = canonical(equation).infix()
    for value in {0.45, -0.655, 0.25, 1.85} & set(exponents):
        assert str(abs(value)) in written


@settings(max_examples=15, deadline=None)
@given(st.lists(EXPONENTS, min_size=1, max_size=4), st.floats(0.1, 5.0), st.floats(-50.0, 50.0))
def test_an_offset_is_found(exponents: list[float], scale: float, offset: float) -> None:
    inputs = table(len(exponents))
    target = np.prod(inputs**exponents, axis=1) * scale
    target = target / target.std() + offset
    assert is_exact(best(inputs, target), inputs, target)


@pytest.mark.parametrize(
    ("one", "other"),
    [((1.5, -1.0), (0.25, 2.0)), ((-2.0, 0.5), (1.0, 1.0)), ((2.0, 0.0), (0.0, -0.7)), ((3.0, 1.0), (-1.0, 1.0))],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_two_terms_are_found(one: tuple[float, float], other: tuple[float, float], sign: float) -> None:
    inputs = table(2)
    target = 1.7 * np.prod(inputs**one, axis=1) + sign * 0.4 * np.prod(inputs**other, axis=1)
    assert is_exact(best(inputs, target), inputs, target)


def test_whole_bases_of_targets_over_many_decades() -> None:
    inputs = np.random.default_rng(1).integers(0, 13, (200, 4)).astype(float)
    target = np.prod(np.array([2.0, 3.0, 5.0, 7.0]) ** inputs, axis=1)
    assert canonical(best(inputs, target)).infix() == "2**x0*3**x1*5**x2*7**x3"


def test_columns_of_both_signs_have_whole_exponents_or_magnitudes() -> None:
    rng = np.random.default_rng(2)
    inputs = table(3) * rng.choice([-1.0, 1.0], (200, 3))
    for target in (
        3.0 * inputs[:, 0] ** 3 / inputs[:, 1],
        inputs[:, 0] * np.abs(inputs[:, 1]) / inputs[:, 2] ** 2,
        np.abs(inputs[:, 0]) ** 1.5 * inputs[:, 1],
    ):
        assert is_exact(best(inputs, target), inputs, target)
    below = -table(1)
    assert is_exact(best(below, (-below[:, 0]) ** 1.3), below, (-below[:, 0]) ** 1.3)


def test_rows_of_zero_are_no_hindrance() -> None:
    inputs = table(2)
    inputs[:5, 0] = 0.0
    target = 2.0 * inputs[:, 0] ** 2 * inputs[:, 1] ** 0.3
    assert best(np.delete(inputs, slice(5), 0), target[5:]) is not None
    inputs[:5] = [0.0, 1.0]
    assert is_exact(best(inputs[:, 1:], target := inputs[:, 1] ** 0.7), inputs[:, 1:], target)


def test_noise_leaves_laws_of_several_sizes_the_true_exponents_among_them() -> None:
    inputs = table(3)
    truth = 2.0 * inputs[:, 0] ** 1.5 / inputs[:, 1]
    target = truth + 0.02 * truth.std() * np.random.default_rng(4).normal(size=200)
    with np.errstate(all="ignore"):
        found = list(find(inputs, target, DEFAULT_OPERATORS, math.inf))
    assert len({len(equation) for equation in found}) >= 4
    right = [one for one in found if one.variables == (0, 1) and nmse(truth, one(inputs)) < 1e-4]
    written = [as_broken_powers(canonical(one)).infix() for one in right]
    assert any("x0**1.5" in one and "/x1" in one for one in written)


def test_pure_noise_has_no_exact_law() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        inputs, target = table(3, seed), rng.normal(size=200)
        with np.errstate(all="ignore"):
            for equation in find(inputs, target, DEFAULT_OPERATORS, math.inf):
                assert not nmse(target, equation(inputs)) < 0.5


@pytest.mark.parametrize(
    "operators", [("add", "mul"), ("add", "mul", "div"), ("mul", "div", "sqrt"), ("mul", "exp"), ("add", "sub")]
)
def test_operators_that_may_not_occur_do_not(operators: tuple[str, ...]) -> None:
    allowed = {TOKEN[name] for name in (*operators, "neg", *POWER_ROWS.values())}
    allowed |= {TOKEN["inv"]} if "div" in operators else set()
    allowed |= {TOKEN["pow"]} if "exp" in operators else set()
    inputs = table(2)
    for exponents in ((2.0, 1.0), (1.5, -1.0), (0.7, 2.0), (2.0, -3.0)):
        for offset in (0.0, 3.0):
            target = np.prod(inputs**exponents, axis=1) + offset
            with np.errstate(all="ignore"):
                for equation in find(inputs, target, operators, math.inf):
                    assert {t for t in equation.tokens.tolist() if 0 < t < 1000} <= allowed, equation.infix()


def test_the_same_table_always_has_the_same_equations() -> None:
    inputs = table(3)
    target = inputs[:, 0] ** 1.2 + inputs[:, 1] * inputs[:, 2] + 4.0
    first, second = (list(find(inputs, target, DEFAULT_OPERATORS, math.inf)) for _ in range(2))
    assert first == second
