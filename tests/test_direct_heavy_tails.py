"""Products of functions, found by their logarithms: every row counts, however small the target is there."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from expressions.goodness_of_fit import nmse
from expressions.operators import POWER_ROWS, TOKEN
from searches.direct.first_equations import direct_equations
from searches.direct.heavy_tails import find
from searches.evolution.settings import DEFAULT_OPERATORS
from tests.direct_laws import equations_of

equations = partial(equations_of, find)


def rows(*ranges: tuple[float, float], count: int = 200) -> np.ndarray:
    low, high = np.array(ranges).T
    return np.random.default_rng(2).uniform(low, high, (count, len(ranges)))


LAWS = {
    "exp(a)*abs(b)/c**2": (
        rows((-20, 20), (-3, 3), (0.001, 1)),
        lambda a, b, c: np.exp(a) * np.abs(b) / c**2,
    ),
    "gauss": (rows((-5, 5), (-4, 4), (0.1, 2)), lambda a, b, c: 3 * np.exp(-(a**2) - 0.5 * b**2) * c),
    "arrhenius": (rows((0.02, 1), (1, 9)), lambda a, b: 7e13 * b**0.7 * np.exp(-1.3 / a)),
    "planck": (rows((0.1, 30), (1, 9)), lambda a, b: 2 * a**3 * b / (np.exp(a) - 1)),
    "waves": (rows((0.1, 6), (0.1, 6), (-9, 9)), lambda a, b, c: np.sin(a) * np.cos(b) * np.exp(2 * c)),
    "differences": (rows((0.2, 5), (0.2, 5), (-9, 9)), lambda a, b, c: np.exp(c) / (a - b) ** 3),
    "of a product": (rows((0.2, 5), (0.2, 5)), lambda a, b: -4.5 * b**2 * np.exp(-2.5 * a * b)),
}


@pytest.mark.parametrize("name", LAWS)
def test_every_row_is_met(name: str) -> None:
    inputs, law = LAWS[name]
    target = law(*inputs.T)
    found = direct_equations(inputs, target, DEFAULT_OPERATORS)
    best = min(found, key=lambda one: (max(found[one], 1e-20), len(one)))
    assert np.abs(best(inputs) / target - 1.0).max() < 1e-8
    assert len(best) < 40


def test_signs_of_the_target_are_those_of_the_equation() -> None:
    inputs = rows((-3, 3), (-3, 3), (-9, 9))
    for target in (
        inputs[:, 0] * np.exp(inputs[:, 2]),
        np.abs(inputs[:, 0]) * inputs[:, 1] * np.exp(inputs[:, 2]),
    ):
        assert any(
            np.abs(one(inputs) / target - 1.0).max() < 1e-8 for one in equations(inputs, target, DEFAULT_OPERATORS)
        )


def test_pure_noise_has_no_law() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        target = np.exp(5.0 * rng.normal(size=200))
        assert equations(rng.normal(size=(200, 5)), target, DEFAULT_OPERATORS) == []


def test_multiplicative_noise_leaves_the_law() -> None:
    inputs = rows((-9, 9), (0.01, 2))
    truth = 2.0 * np.exp(inputs[:, 0]) / inputs[:, 1] ** 2
    target = truth * np.exp(0.05 * np.random.default_rng(1).normal(size=200))
    best = min(
        equations(inputs, target, DEFAULT_OPERATORS),
        key=lambda one: float(np.mean(np.abs(np.log(np.abs(one(inputs) / truth))))),
    )
    assert nmse(np.log(truth), np.log(best(inputs))) < 1e-3


@pytest.mark.parametrize("operators", [("mul", "div"), ("add", "mul", "exp"), ("mul", "sin"), ("add", "div")])
def test_operators_that_may_not_occur_do_not(operators: tuple[str, ...]) -> None:
    allowed = {TOKEN[name] for name in (*operators, "neg", *POWER_ROWS.values())}
    allowed |= {TOKEN["inv"]} if "div" in operators else set()
    allowed |= {TOKEN["pow"]} if "exp" in operators else set()
    for inputs, law in LAWS.values():
        for equation in equations(inputs, law(*inputs.T), operators):
            assert {t for t in equation.tokens.tolist() if 0 < t < 1000} <= allowed, equation.infix()


def test_zeros_of_the_target_do_not_hide_the_law() -> None:
    inputs = rows((-9, 9), (-2, 2))
    inputs[::10, 1] = 0.0
    target = inputs[:, 1] ** 2 * np.exp(inputs[:, 0])
    assert any(nmse(target, one(inputs)) < 1e-20 for one in equations(inputs, target, DEFAULT_OPERATORS))
