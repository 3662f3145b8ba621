"""Waves by a scan of frequencies: found exactly, spelled as a person writes them, and never in pure noise."""

from __future__ import annotations

import math
import time
from functools import partial

import numpy as np
import pytest

from expressions.expression import Expression
from searches.direct.kinds import KINDS
from searches.direct.wave_spelling import wave
from searches.direct.waves import find
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.links.stepwise import EXACT
from tests.direct_laws import Law, equations_of, error_of, names_of, table_of

sin, cos = np.sin, np.cos
table, found = partial(table_of, low=-1.0, high=2.0), partial(equations_of, find)


LAWS: dict[str, tuple[Law, int]] = {  # and tokens of the shortest spelling that is asked for
    "one": (lambda x: 3 * sin(205 * x + 0.4) + 2, 10),
    "of a cube": (lambda x: cos(7 * x**3), 5),
    "three and a trend": (lambda x: 3 * sin(80 * x) + 2 * cos(131 * x) - sin(17.3 * x + 1) + 0.5 * x, 26),
    "in different arguments": (lambda x, z: sin(40 * x * z) + 2 * cos(21 * x**2) + z, 18),
    "product": (lambda x, z: 3 * sin(80 * x) * cos(131 * z), 11),
    "product with phases": (lambda x, z, w: 3 * sin(80 * x + 0.2) * cos(31 * z - 1) + w, 19),
    "product of powers": (lambda x, z: 3 * sin(20 * x**2 + 0.2) * cos(31 * z - 1), 16),
    "product in one variable": (lambda x: 3 * sin(20 * x + 0.2) * cos(31 * x) + x**2, 18),
    "of a sum": (lambda x, z: 3 * sin(20 * x - 70 * z), 10),
    "growing": (lambda x, z: x * sin(50 * z), 8),
    "dying": (lambda x: np.exp(-1.3 * x) * sin(50 * x + 1), 14),
    "slow": (lambda x, z: sin(2 * x) + 1.5 * cos(3 * z), 11),
    "product and another": (lambda x, z: 1.5 * sin(40 * x) * cos(33 * z) + 0.2 * sin(70 * x), 18),
}


@pytest.mark.parametrize("name", LAWS)
def test_waves_are_found_exactly_and_are_short(name: str) -> None:
    law, tokens = LAWS[name]
    inputs, target = table(law)
    equations = [each for each in found(inputs, target) if error_of(each, inputs, target) < EXACT]
    assert equations
    assert min(map(len, equations)) <= tokens
    fresh = np.random.default_rng(4).uniform(-1, 2, inputs.shape)
    assert error_of(equations[0], fresh, law(*fresh.T)) < EXACT


def test_the_slowest_alias_is_taken_on_a_grid() -> None:
    grid = np.linspace(0.0, 10.0, 101)[:, None]
    [equation, *_] = found(grid, sin(2 * math.pi * (10 + 0.75) * grid[:, 0]))  # beyond Nyquist's 5 by 5.75
    assert error_of(equation, grid, sin(2 * math.pi * 0.75 * grid[:, 0])) < EXACT
    assert np.abs(equation.constants).max() < 2 * math.pi * 5


@pytest.mark.parametrize("variables", [1, 2, 5])
def test_pure_noise_brings_nothing(variables: int) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        assert not found(rng.uniform(-1, 1, (200, variables)), rng.normal(size=200))


def test_a_wave_under_noise_is_found_without_what_the_data_do_not_need() -> None:
    inputs, target = table(lambda x, z: 3 * sin(80 * x + 0.3) + 2 * cos(31 * z))
    noise = 0.2 * np.random.default_rng(0).normal(size=len(target))
    equations = found(inputs, target + noise)
    best = min(equations, key=lambda each: error_of(each, inputs, target))
    assert error_of(best, inputs, target) < 1e-3
    assert len(best) <= 25  # the law has 13 without a phase at z; no trend of six functions is left
    assert len({len(each) for each in equations}) > 1  # one wave alone is offered, too


def test_operators_that_are_not_allowed_do_not_occur() -> None:
    inputs, target = table(lambda x, z: 3 * sin(80 * x + 0.3) / x + 2 * cos(31 * z), low=0.5, high=2.0)
    for allowed in (("add", "mul", "sin"), ("add", "mul", "cos", "div"), ("add", "mul", "sin", "sub", "exp")):
        equations = found(inputs, target, allowed)
        assert equations
        for equation in equations:
            assert names_of(equation) <= {*allowed, "square", "cube"}
    assert not found(inputs, target, ("add", "mul", "exp"))


def test_time_that_is_over_ends_the_scan() -> None:
    inputs, target = table(lambda x, z: 3 * sin(80 * x) * cos(31 * z))
    assert not list(find(inputs, target, DEFAULT_OPERATORS, time.perf_counter() - 1.0))


def test_the_same_table_gives_the_same_equations() -> None:
    inputs, target = table(lambda x, z: np.exp(x) * z / (1 + z * z))
    assert found(inputs, target) == found(inputs, target)


def test_rows_and_columns_that_say_nothing_are_survived() -> None:
    rng = np.random.default_rng(0)
    inputs = np.stack([np.ones(60), np.arange(60) % 2, rng.normal(size=60) ** 9, np.arange(60.0)], axis=1)
    for equation in found(inputs, rng.normal(size=60) + sin(inputs[:, 3])):
        assert np.isfinite(equation(inputs)).all()
    assert not found(inputs[:10], rng.normal(size=10))


@pytest.mark.parametrize("allowed", [("sin", "cos"), ("sin",), ("cos",)])
def test_phases_are_between_minus_and_plus_a_quarter_turn(allowed: tuple[str, ...]) -> None:
    x = np.linspace(-3, 3, 50)
    argument = Expression.variable(0)
    for angle in np.arange(0.0, 2 * math.pi, math.pi / 16):
        sine, cosine = math.cos(angle), math.sin(angle)
        factor, one = wave(sine, cosine, argument, allowed)
        assert names_of(one) <= {*allowed, "add"}
        np.testing.assert_allclose(factor * one(x[:, None]), sine * sin(x) + cosine * cos(x), atol=1e-12)
        assert all(-math.pi / 2 < phase <= math.pi / 2 for phase in one.constants.tolist())
    if len(allowed) == 2:
        assert wave(0.0, -2.0, argument, allowed) == (-2.0, Expression.apply("cos", argument))
        assert wave(3.0, 0.0, argument, allowed) == (3.0, Expression.apply("sin", argument))


def test_waves_are_a_kind() -> None:
    assert KINDS["waves"] is find
