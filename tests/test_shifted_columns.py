"""Columns far from 0: searched without their offset, with no digit lost, and written `(t - t0)`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.measurements import Measurements
from expressions.parsing import parse
from searches.common.regression_task import RegressionTask
from searches.common.shifted_columns import ShiftedColumns
from searches.common.shifted_intervals import intervals_beside_centres
from searches.direct.first_equations import first_equations
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.link_regression import search as regress
from searches.portfolio import PortfolioSettings, Progress
from searches.portfolio import search as run

SECONDS = 1.7e9


def table(centre: float, span: float = 100.0, rows: int = 120) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.column_stack([centre + rng.uniform(0.0, span, rows), rng.uniform(1.0, 3.0, rows)])


# --- what is subtracted -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1e12), st.floats(3.5, 9.0), st.sampled_from([-1.0, 1.0]))
def test_the_centre_is_near_and_nothing_is_rounded(span: float, decades: float, sign: float) -> None:
    inputs = table(sign * span * 10.0**decades, span)
    shift = ShiftedColumns.of(inputs)
    assert shift
    assert shift.centres[1] == 0.0
    plain = shift.shifted(inputs)
    assert np.array_equal(plain[:, 0] + shift.centres[0], inputs[:, 0])
    assert np.abs(plain[:, 0]).max() <= 3 * span
    assert not ShiftedColumns.of(plain)


def test_round_numbers_are_preferred() -> None:
    assert ShiftedColumns.of(table(SECONDS)).centres == (1.7e9, 0.0)
    assert ShiftedColumns.of(table(500_003.0, 90.0)).centres == (500_000.0, 0.0)
    assert ShiftedColumns.of(table(-7003.2, 1.0)).centres == (-7004.0, 0.0)


def test_ordinary_columns_stay() -> None:
    for inputs in (table(0.0), table(900.0), np.full((20, 1), 5.0), np.array([[1.0], [np.inf]]), np.zeros((0, 2))):
        assert not ShiftedColumns.of(inputs)


def test_a_column_without_digits_is_told() -> None:
    assert "of t agree in 12 digits" in ShiftedColumns.of(table(1e14, 0.5)).notes(["t", "h"])[0]
    assert ShiftedColumns.of(table(SECONDS)).notes() == ()


# --- how equations are written ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ("3*x0 + 2", "3*(x0 - 1700000000) + 2"),
        ("(x0 - 40)**2*x1", "(x0 - 1700000040)**2*x1"),
        ("2*x0 - 80", "2*(x0 - 1700000040)"),
        ("sin(0.3*x0 + 0.123456789)", "sin(0.3*(x0 - 1700000000) + 0.123456789)"),
        ("log(x0 + 1700000000)", "log(x0)"),
        ("x1 + 1", "x1 + 1"),
    ],
)
def test_equations_say_the_difference(found: str, written: str) -> None:
    shift = ShiftedColumns.of(table(SECONDS))
    restored = shift.restored(parse(found))
    assert restored.infix() == written
    inputs = table(SECONDS)
    assert np.allclose(restored(inputs), parse(found)(shift.shifted(inputs)), rtol=1e-12, atol=1e-12)
    assert nmse(restored(inputs), shift.taken(restored)(shift.shifted(inputs))) < 1e-20


def test_columns_below_zero_are_written_with_a_sum() -> None:
    shift = ShiftedColumns.of(table(-7000.0, 1.0))
    assert shift.restored(parse("x0*x1")).infix() == "(x0 + 7000)*x1"


def test_centres_are_told_from_constants_of_the_law() -> None:
    shift = ShiftedColumns.of(table(SECONDS))
    equation = parse("3*(x0 - 1700000000)*x1 + 1700000000/(x0 - 1700000040)")
    assert shift.are_centres(equation).tolist() == [False, True, False, False]
    assert shift.plain(equation) is None
    assert shift.plain(parse("3*(x0 - 1700000000)*x1 + 2")) == parse("3*x0*x1 + 2")


# --- searches ---------------------------------------------------------------------------------------------------

LAWS = {
    "3*u*v + 2": lambda u, v: 3 * u * v + 2,
    "v*exp(-0.05*u)": lambda u, v: v * np.exp(-0.05 * u),
    "(u - 40)**2 + v": lambda u, v: (u - 40) ** 2 + v,
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("centre", [SECONDS, 2.5e5, 9e10])
def test_first_equations_hold_the_law(law: str, centre: float) -> None:
    inputs = table(centre)
    target = LAWS[law](inputs[:, 0] - centre, inputs[:, 1])
    best = first_equations(inputs, target, DEFAULT_OPERATORS, 10)[0]
    assert nmse(target, best(inputs)) < 1e-18


def test_a_law_of_the_columns_own_numbers_is_found() -> None:
    inputs = table(300.0, 0.9)
    target = 5.67e-8 * inputs[:, 0] ** 4 * inputs[:, 1]
    result = regress(inputs, target, seed=0)
    assert nmse(target, result.best.expression(inputs)) < 1e-20
    assert "300" not in result.best.expression.infix()


@pytest.mark.parametrize("method", ["regression", "portfolio"])
def test_searches_answer_in_the_tables_own_columns(method: str) -> None:
    inputs = table(SECONDS)
    target = 3.0 * (inputs[:, 0] - SECONDS) * inputs[:, 1] + 2.0
    held_out = table(SECONDS)[:30] + np.array([7.0, 0.5])
    validation = held_out, 3.0 * (held_out[:, 0] - SECONDS) * held_out[:, 1] + 2.0
    told: list[Progress] = []
    if method == "regression":
        result = regress(inputs, target, seed=0, validation=validation)
    else:
        chosen = PortfolioSettings(seconds=None, evaluations=2_000, methods=("regression",))
        result = run(inputs, target, chosen, seed=0, validation=validation, on_progress=told.append)
        assert all(nmse(target, each.expression(inputs)) < 10 for p in told for each in p.front)
    assert result.best.exact
    assert "x0 - 1700000000" in result.best.expression.infix()
    assert nmse(validation[1], result.best.expression(held_out)) < 1e-20


def test_screening_of_far_columns_is_in_double_precision() -> None:
    inputs = table(SECONDS)
    target = inputs[:, 0] - SECONDS
    assert RegressionTask(inputs, target).screen([Expression.variable(0)])[0] < 1e-12


def test_intervals_are_those_of_the_law_without_the_centre() -> None:
    inputs = table(SECONDS)
    target = 3.0 * (inputs[:, 0] - SECONDS) + 2.0 + np.random.default_rng(0).normal(size=len(inputs))
    equation = parse("3*(x0 - 1700000000) + 2")
    found = intervals_beside_centres(Measurements.of(inputs, target), equation)
    assert found.ends[1].tolist() == [SECONDS, SECONDS]
    assert found.ends[0, 0] < 3.0 < found.ends[0, 1] < 3.1
    assert 1.0 < found.ends[2, 0] < 2.0 < found.ends[2, 1] < 3.0
    assert np.isfinite(found.curve(equation, inputs)).all()
