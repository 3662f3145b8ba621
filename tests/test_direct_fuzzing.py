"""No kind of law fails on a table that is allowed: two rows, one value, huge and tiny numbers, whole ones."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searches.direct.first_equations import direct_equations
from searches.direct.kinds import COSTLIEST_KIND, KINDS, kinds_under_noise
from searches.direct.separability import equations_of_parts
from searches.direct.symmetries import reduced
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.links.stepwise import EXACT

ROWS = st.sampled_from([2, 3, 4, 5, 8, 12, 20, 24, 30, 60])
SHAPES = ["constant", "plain", "whole", "two values", "signs", "decades", "counted", "far from 0"]


def column(rng: np.random.Generator, rows: int, shape: str, size: float) -> np.ndarray:
    plain = rng.uniform(-1.0, 1.0, rows)
    found: np.ndarray = {
        "constant": np.full(rows, rng.choice([0.0, 1.0, -3.5])),
        "plain": plain,
        "whole": np.round(4 * plain),
        "two values": rng.choice(plain[:2], rows),
        "signs": np.sign(plain),
        "decades": np.sign(plain) * 10.0 ** rng.uniform(-9, 9, rows),
        "counted": np.arange(rows, dtype=float),
        "far from 0": 1.7e9 + np.round(5 * plain),
    }[shape]
    return found * size


@st.composite
def tables(draw: st.DrawFn, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and a target that is not constant, whose sizes are up to a power of ten or its inverse."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, shapes = draw(ROWS), st.sampled_from(SHAPES)
    sizes = st.sampled_from([0, 0, 0, -largest, largest]).map(lambda power: 10.0**power)
    with np.errstate(all="ignore"):
        inputs = [column(rng, rows, draw(shapes), draw(sizes)) for _ in range(draw(st.integers(1, 3)))]
        one, other = inputs[0], inputs[-1]
        own = column(rng, rows, draw(shapes), draw(sizes))
        target = draw(st.sampled_from([own, one, one * other, one + other, one / other, np.sin(one)]))
    if not np.isfinite(target).all() or not np.ptp(target) > 0:
        target = np.arange(rows, dtype=float)
    return np.column_stack(inputs), target


@settings(max_examples=40, deadline=None)
@given(tables(25), st.sampled_from([0.0, 1e-6]))
def test_no_kind_fails(table: tuple[np.ndarray, np.ndarray], noise: float) -> None:
    kinds = kinds_under_noise(noise) if noise else KINDS
    with np.errstate(all="ignore"):
        for name, find in kinds.items():
            ends = time.perf_counter() + (0.05 if name == COSTLIEST_KIND else np.inf)
            with suppress(np.linalg.LinAlgError):  # what LAPACK cannot decompose
                list(find(*table, DEFAULT_OPERATORS, ends))
        with suppress(np.linalg.LinAlgError):
            reduced(*table, DEFAULT_OPERATORS)
        with suppress(np.linalg.LinAlgError):
            list(equations_of_parts(*table, {}, DEFAULT_OPERATORS, lambda *_: {}, EXACT))


@settings(max_examples=40, deadline=None)
@given(tables(307))
def test_a_table_of_any_size_of_numbers_is_no_error(table: tuple[np.ndarray, np.ndarray]) -> None:
    ends = time.perf_counter() + 0.1
    if np.isfinite(table[0]).all():
        assert all(np.isfinite(error) for error in direct_equations(*table, DEFAULT_OPERATORS, ends).values())


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_numbers_whose_powers_are_beyond_float64_have_no_direct_law(size: float) -> None:
    inputs = np.random.default_rng(1).uniform(1.0, 2.0, (40, 1))
    assert direct_equations(inputs, inputs[:, 0] ** 2, DEFAULT_OPERATORS)
    assert not direct_equations(inputs * size, inputs[:, 0] ** 2, DEFAULT_OPERATORS)
