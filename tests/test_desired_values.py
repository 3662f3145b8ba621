"""What a part of an equation should be: put in its place, it makes the whole the target."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.expression import Expression
from expressions.operators import OPERATORS
from expressions.parsing import parse
from searches.desired_values import desired_values
from searches.gp_settings import DEFAULT_OPERATORS
from searches.linked_sums import sums_of_parts
from searches.undoing import Undone

NAMES = ["x0", "x1", "x2"]
INPUTS = np.random.default_rng(0).uniform(0.5, 2.0, (200, 3))
NOT_SOLVED = {"pow", "max", "min", "abs"} | {row.name for row in OPERATORS if row.protected}
SMALL = ("asin", "acos", "tanh", "atan")  # functions of what is below 1, so that they are defined


def around(name: str, inner: Expression, second: bool) -> Expression:
    """An operator around something."""
    if name in SMALL:
        inner = Expression.apply("mul", Expression.constant(0.15), inner)
    if name in ("add", "sub", "mul", "div"):
        other = parse("x1 + 0.3", NAMES)
        return Expression.apply(name, *((other, inner) if second else (inner, other)))
    return Expression.apply(name, inner)


def remade(part: Undone) -> np.ndarray:
    """The whole, with the wanted values as a column of their own. `[rows]`"""
    column = Expression.variable(INPUTS.shape[1])
    return part.redone(column)(np.column_stack([INPUTS, part.values]))


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("name", [row.name for row in OPERATORS if row.name not in NOT_SOLVED])
def test_wanted_values_make_the_whole_the_target(name: str, second: bool) -> None:
    truth = around(name, parse("x0*x2 + x1", NAMES), second)
    equation = around(name, parse("x0*x2 + 0.9*x1", NAMES), second)
    target = 3.0 * truth(INPUTS) - 1.0
    parts = desired_values(equation, INPUTS, target)
    inner = {start for start in range(1, len(equation)) if len(equation.subtree(start)) == 7}
    assert parts
    reached = set()
    for part in parts:
        assert part.hole is not None
        reached.add(part.hole.start - (len(part.hole.equation) - 1 - len(equation)))
        counts = part.slopes > 0
        assert counts.mean() >= 0.7
        np.testing.assert_allclose(remade(part)[counts], target[counts], rtol=1e-7, atol=1e-7)
        now = part.hole.equation.subtree(part.hole.start)(INPUTS)
        assert np.array_equal(part.values[~counts], np.broadcast_to(now, counts.shape)[~counts])
    assert inner & reached


def test_slopes_say_what_an_error_costs() -> None:
    equation = parse("exp(x2*sin(x0*x1))/(x1 + 0.4)", NAMES)
    target = 2.0 * parse("exp(x2*sin(x0*x1 + 0.1))/(x1 + 0.5)", NAMES)(INPUTS) + 0.2
    spread = np.sqrt(np.square(target - target.mean()).sum())
    parts = desired_values(equation, INPUTS, target)
    assert len(parts) > 10
    for part in parts:
        counts = part.slopes > 0
        step = 1e-6 * np.maximum(np.abs(part.values), 1e-3)
        moved = Undone((), part.values + step, part.slopes, part.hole)
        change = np.abs(remade(moved) - remade(part)) / step / spread
        steep = counts & (part.slopes > 1e-3 * np.median(part.slopes))
        np.testing.assert_allclose(change[steep], part.slopes[steep], rtol=2e-3)


def test_of_several_solutions_the_nearest_is_taken() -> None:
    turned = parse("cos(9*x0 + x1)", NAMES)
    for part in desired_values(turned, INPUTS, turned(INPUTS)):
        assert part.hole is not None
        values = part.hole.equation.subtree(part.hole.start)(INPUTS)
        counts = part.slopes > 1e-6 * part.slopes.max()
        np.testing.assert_allclose(part.values[counts], np.broadcast_to(values, counts.shape)[counts], atol=1e-5)
    negative = parse("(x0 - 3)**2", NAMES)
    [root, *_] = [part for part in desired_values(negative, INPUTS, negative(INPUTS)) if (part.values < 0).all()]
    np.testing.assert_allclose(root.values, INPUTS[:, 0] - 3.0, rtol=1e-6)


def test_rows_without_a_solution_do_not_count() -> None:
    equation = parse("sin(x0*x1)", NAMES)
    few = equation(INPUTS)
    few[:20] = 3.0
    parts = desired_values(equation, INPUTS, few)
    assert all(((part.slopes == 0) <= (few > 1.0)).all() for part in parts)
    assert any((part.slopes == 0).any() for part in parts)
    many = equation(INPUTS)
    many[:120] = np.linspace(3.0, 9.0, 120)
    assert all((part.slopes > 0).mean() >= 0.7 for part in desired_values(equation, INPUTS, many))


@pytest.mark.parametrize("text", ["2.5", "log(x0 - 1)", "1e200*exp(x0*1e3)", "0*x0", "abs(x0)", "x0"])
def test_equations_without_parts_that_can_be_anything(text: str) -> None:
    assert desired_values(parse(text, NAMES), INPUTS, INPUTS[:, 1]) == []


@pytest.mark.parametrize("unit", [1e-150, 1e-6, 1e6, 1e150])
def test_units_do_not_matter(unit: float) -> None:
    equation = parse("exp(x2*x0) + x1", NAMES)
    target = parse("exp(x2*x0*1.1) + x1*x0", NAMES)(INPUTS)
    plain, scaled = (
        [
            part
            for part in desired_values(equation, INPUTS, scale * target)
            if part.hole is not None and part.hole.equation.constants[0] != 1.0
        ]
        for scale in (1.0, unit)
    )
    assert len(plain) == len(scaled) > 5
    for one, other in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-6)
        np.testing.assert_allclose(one.slopes, other.slopes, rtol=1e-6)


@pytest.mark.parametrize(
    ("truth", "close"),
    [
        ("exp(x2*(x0 + x1)*tanh(x0))*exp(x1)", "exp(x2*(x0 + x1)*x0)*exp(x1)"),
        ("x1*sqrt(x0*x2 + sin(x1) + 2*x2) + x0", "x1*sqrt(x0*x2 + 2) + x0"),
        ("log(x0 + x1*cos(x2) + 2*x0*x2)/(x1 + 3)", "log(x0 + x2 + 2)/(x1 + 3)"),
    ],
)
def test_a_part_deep_inside_becomes_a_sum_of_parts(truth: str, close: str) -> None:
    """No step undone from outside gets there: what is around the part must be known."""
    target = parse(truth, NAMES)(INPUTS)
    near = parse(close, NAMES)
    extra = [parse("cos(x2)*x1", NAMES), parse("x0*x2", NAMES)]
    material = [near, *extra]

    def best(opened: list[Expression]) -> float:
        [first] = sums_of_parts(material, INPUTS, target, (*DEFAULT_OPERATORS, "tanh"), 1, opened=opened)
        return float(np.mean(np.square(first(INPUTS) - target)) / target.var())

    assert best([near]) < 1e-20
    assert best([]) > 1e-8
