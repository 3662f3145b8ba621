"""Constants and parts that an equation does without, as judged by the length of a description."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expressions.complexity import complexity
from expressions.equivalence import recovered
from expressions.goodness_of_fit import nmse
from expressions.parsing import parse
from searches.common.equivalent_forms import common_divisors, completed_powers
from searches.common.refinement import Refinement
from searches.common.regression_task import RegressionTask
from searches.common.shorter_codes import is_plain, shortened
from searches.pareto_front import Candidate, ParetoFront, pick


def noisy_task(truth: str, rows: int, noise: float) -> RegressionTask:
    rng = np.random.default_rng(3)
    inputs = rng.uniform(0.5, 5.0, (rows, 3))
    target = parse(truth)(inputs)
    return RegressionTask(inputs, target + noise * target.std() * rng.normal(size=rows))


def fitted(task: RegressionTask, model: str) -> Candidate:
    equation = task.refit(parse(model))
    return task.charged(task.judge(equation, complexity(equation)))


@pytest.mark.parametrize(
    ("model", "truth", "rows", "noise"),
    [
        ("1.02*x0**1.98", "x0**2", 30, 0.05),
        ("1.0003*x0*x1 + 0.01", "x0*x1", 30, 0.05),
        ("1.01*sin(1.02*x0 + 0.03) + 0.02", "sin(x0)", 30, 0.05),
        ("1.03*exp(-0.99*x0)*x1 + 0.01*x2", "x1*exp(-x0)", 12, 0.01),
        ("3.1*x0 + 0.2", "3*x0", 8, 0.1),
        ("x0*x1 + 0.003*x2*cos(x1)", "x0*x1", 100, 0.05),
    ],
)
def test_constants_that_the_law_does_without_are_taken_out(
    model: str, truth: str, rows: int, noise: float
) -> None:
    task = noisy_task(truth, rows, noise)
    longer = fitted(task, model)
    shorter = shortened(longer, task, math.inf)
    assert shorter.code < longer.code
    assert recovered(shorter.expression, parse(truth)), shorter.expression.infix()


def test_what_the_law_needs_stays() -> None:
    task = noisy_task("2.37*x0*sin(1.31*x1) + 0.78*x2", 200, 0.02)
    whole = fitted(task, "2*x0*sin(1.3*x1) + 0.8*x2")
    assert len(shortened(whole, task, math.inf).expression.constants) == 3


def test_nothing_is_tried_when_time_is_up() -> None:
    task = noisy_task("x0**2", 30, 0.05)
    longer = fitted(task, "1.02*x0**1.98")
    assert shortened(longer, task, -math.inf) is longer


def test_a_constant_and_a_quotient_become_one_quotient() -> None:
    forms = list(common_divisors(parse("2.3 - 3.3/(x0**2 + 1.44)")))
    assert [recovered(form, parse("2.3*x0**2/(x0**2 + 1.44)")) for form in forms] == [True]
    assert not list(common_divisors(parse("2.3 - 3.3*x1/(x0**2 + 1.44)")))
    assert not list(common_divisors(parse("2.3 - 3.3/(x0**2 + x1)")))


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("2*x0**2 - 12*x0 + 18", "2*(x0 - 3)**2"),
        ("x1*exp(-2*x0**2 + 3*x0 - 1.125)", "x1*exp(-2*(x0 - 0.75)**2)"),
        ("x1**2 + x0**3 - 6*x0**2 + 12*x0 - 8", "x1**2 + (x0 - 2)**3"),
    ],
)
def test_a_polynomial_that_is_a_power_is_written_as_one(long: str, short: str) -> None:
    assert any(recovered(form, parse(short)) for form in completed_powers(parse(long)))
    task = noisy_task(short, 100, 0.01)
    found = shortened(fitted(task, long), task, math.inf).expression
    assert found.constants.size < parse(long).constants.size
    assert nmse(parse(short)(task.inputs), found(task.inputs)) < 1e-4


def test_products_that_differ_are_no_polynomial() -> None:
    assert not list(completed_powers(parse("x0**2*x1 + x0*x1")))
    assert not list(completed_powers(parse("x0**2 + x1")))


def test_a_search_ends_with_the_shorter_quotient() -> None:
    task = noisy_task("2.3*x0**2/(x0**2 + 1.44)", 60, 0.02)
    refinement = Refinement(task, simplify_seconds=0.0)
    front = refinement.refined(ParetoFront([fitted(task, "2.3 - 3.3/(x0**2 + 1.44)")]))
    assert pick(front).expression.constants.size == 2


def test_plain_values_are_whole_numbers_and_halves() -> None:
    assert is_plain(np.array([0.0, -1.0, 2.5, 1.0000001, 40.0, 0.25])).tolist() == [True, True, True] + [False] * 3
