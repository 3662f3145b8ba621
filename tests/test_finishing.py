"""The end of a search: what is taken out of an equation, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.parsing import parse
from expressions.scoring import recovered
from searches.finishing import Finish
from searches.front import EXACT_NMSE, ParetoFront
from searches.regression import RegressionTask

X = np.random.default_rng(0).uniform(0.5, 5.0, (300, 3))


def polished(model: str, truth: str) -> str:
    """The equation picked from the polished front of a single, freshly fitted one."""
    task = RegressionTask(X, parse(truth)(X))
    finish = Finish(task, simplify_seconds=0.0)
    [candidate] = finish.polished(ParetoFront([finish.judged(task.refit(parse(model)))]))
    assert candidate.error < EXACT_NMSE
    return candidate.expression.infix()


@pytest.mark.parametrize(
    ("model", "truth"),
    [
        ("1e10*tanh(8e-12*x0/(x1*x2**2))", "0.08*x0/(x1*x2**2)"),
        ("1e6*sin(2.3e-6*x0*x1 - 1e-7) + x2", "2.3*x0*x1 + x2"),
        ("1e8*(1 - cos(1.414e-4*(x0 - x1))) + 0.3", "(x0 - x1)**2 + 0.3"),
        ("1e9*x1*log(1 + 1e-9*x0)", "x0*x1"),
        ("x2 + 1e9*(exp(1e-9*(x0 + x1)) - 1)", "x0 + x1 + x2"),
    ],
)
def test_functions_of_tiny_arguments_are_taken_out(model: str, truth: str) -> None:
    equation = parse(polished(model, truth))
    assert recovered(equation, parse(truth))
    assert len(equation) <= len(parse(truth)) + 2


@pytest.mark.parametrize(
    ("model", "read"),
    [
        ("3.7*x1*sqrt(x0)**2", "3.7*x0*x1"),
        ("-2*x0*(sqrt(x1)**2 + 0.5*x0 - 1.5)", "-(x0*(2*x1 + x0 - 3))"),
        ("-2*x0*(x1 + 0.5*x0 - 1.5)", "-(x0*(x0 + 2*x1 - 3))"),
    ],
)
def test_no_root_is_squared_and_nothing_is_multiplied_by_one(model: str, read: str) -> None:
    assert polished(model, model) == read


@pytest.mark.parametrize("truth", ["sin(x0) + x1", "tanh(0.3*x0) + 0.1*x1", "log(x0 + 3) - x2", "cos(0.2*x0)*x1"])
def test_functions_that_the_data_see_stay(truth: str) -> None:
    assert recovered(parse(polished(truth, truth)), parse(truth))


def test_equations_without_constants_get_none() -> None:
    task = RegressionTask(X, parse("x0 + x1")(X))
    finish = Finish(task, constants=False, simplify_seconds=0.0)
    front = finish.polished(ParetoFront([finish.judged(parse("tanh(x0) + x1"))]))
    assert [c.expression for c in front] == [finish.judged(parse("tanh(x0) + x1")).expression]
