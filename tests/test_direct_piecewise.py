"""Piecewise laws: pieces that some rows obey exactly, joined by max, min, magnitudes and jumps."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.operators import TOKEN
from searches.direct.piecewise import find
from searches.direct.segments import bases, pieces
from tests.direct_laws import equations_of

equations = partial(equations_of, find)

ROWS = np.random.default_rng(5).uniform(-2.0, 3.0, (240, 3))
FRESH = np.random.default_rng(6).uniform(-2.0, 3.0, (240, 3))


LAWS = {
    "larger of two planes": lambda x, y, z: np.maximum(2 * x - 1, 0.5 * y + z),
    "smaller of a plane and a parabola": lambda x, y, z: np.minimum(x * x - y, 1.5),
    "ramp": lambda x, y, z: 3 * np.maximum(x - 0.7, 0) + y,
    "magnitude": lambda x, y, z: 2 * np.abs(x - y) + z,
    "clipped": lambda x, y, z: np.clip(2 * x + y, -1.5, 2.0),
    "jump": lambda x, y, z: np.where(x > 0.4, 2 * y, -z),
    "jump across a diagonal": lambda x, y, z: np.where(x > y, 3.0, z),
    "three pieces": lambda x, y, z: np.where(x < 0, y, np.where(x < 1.2, 2 * z, -1)),
    "ramp times a column": lambda x, y, z: z * np.maximum(x, 0.3),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_law_is_met_on_rows_that_nobody_has_seen(name: str) -> None:
    law = LAWS[name]
    target = law(*ROWS.T)
    best = min(equations(ROWS, target), key=lambda one: nmse(target, one(ROWS)))
    assert nmse(target, best(ROWS)) < 1e-20
    wanted = law(*FRESH.T)
    near = np.abs(best(FRESH) - wanted) < 1e-6
    assert near.mean() > 0.97  # a jump lies anywhere between two rows


def test_magnitudes_and_extrema_have_their_own_names() -> None:
    [found] = equations(ROWS[:, :2], np.maximum(2 * ROWS[:, 0] - 1, ROWS[:, 1]))
    assert found.infix().startswith("max(")
    [found] = equations(ROWS[:, :2], np.abs(ROWS[:, 0] - ROWS[:, 1]))
    assert found.infix() == "abs(x0 - x1)"


def test_a_divisor_is_common_to_all_pieces() -> None:
    inputs = ROWS + np.array([0.0, 0.0, 4.0])
    target = np.maximum(inputs[:, 0], 0.5 * inputs[:, 1] - 1) / inputs[:, 2]
    assert any(nmse(target, one(inputs)) < 1e-20 for one in equations(inputs, target))


def test_noise_leaves_a_hinge() -> None:
    truth = 2 * np.maximum(ROWS[:, 0] - 0.5, 0) + ROWS[:, 1]
    target = truth + 0.05 * np.random.default_rng(0).normal(size=len(truth))
    found = equations(ROWS, target)
    assert any("max" in one.infix() and nmse(truth, one(ROWS)) < 3e-3 for one in found)


def test_smooth_laws_and_pure_noise_have_no_exact_pieces() -> None:
    rng = np.random.default_rng(9)
    for target in (rng.normal(size=240), np.tanh(ROWS[:, 0]) * np.exp(ROWS[:, 1]), ROWS[:, 0] - ROWS[:, 2]):
        assert not any(nmse(target, one(ROWS)) < 1e-12 for one in equations(ROWS, target))


def test_pieces_cover_all_rows() -> None:
    target = np.maximum(ROWS[:, 0], 1.0)
    basis = next(bases(ROWS, [Expression.variable(k) for k in range(3)], [], len(ROWS)))
    [found] = pieces(basis, target[None], ROWS, 3)
    assert found is not None
    assert len(found) == 2
    assert np.any([piece.met for piece in found], axis=0).all()


@pytest.mark.parametrize(
    "operators",
    [("add", "mul"), ("add", "mul", "sqrt", "exp"), ("add", "mul", "max", "abs", "div"), ("add", "mul", "min")],
)
def test_operators_that_may_not_occur_do_not(operators: tuple[str, ...]) -> None:
    allowed = {TOKEN[name] for name in (*operators, "sub", "neg", "square", "cube")}
    allowed |= {TOKEN["inv"]} if "div" in operators else set()
    for law in LAWS.values():
        for equation in equations(ROWS, law(*ROWS.T), operators):
            assert {t for t in equation.tokens.tolist() if 0 < t < 1000} <= allowed, equation.infix()
