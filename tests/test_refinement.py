"""The end of a search: what is taken out of an equation, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.equivalence import recovered
from expressions.goodness_of_fit import nmse
from expressions.parsing import parse
from searches.common.refinement import Refinement, near_front
from searches.common.regression_task import RegressionTask
from searches.pareto_front import EXACT_NMSE, ParetoFront, pick

X = np.random.default_rng(0).uniform(0.5, 5.0, (300, 3))


def refined_equation(model: str, truth: str) -> str:
    """The equation picked from the refined front of a single, freshly fitted one."""
    task = RegressionTask(X, parse(truth)(X))
    refinement = Refinement(task, simplify_seconds=0.0)
    [candidate] = refinement.refined(ParetoFront([refinement.judged(task.refit(parse(model)))]))
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
    equation = parse(refined_equation(model, truth))
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
    assert refined_equation(model, model) == read


@pytest.mark.parametrize("truth", ["sin(x0) + x1", "tanh(0.3*x0) + 0.1*x1", "log(x0 + 3) - x2", "cos(0.2*x0)*x1"])
def test_functions_that_the_data_see_stay(truth: str) -> None:
    assert recovered(parse(refined_equation(truth, truth)), parse(truth))


def test_equations_without_constants_get_none() -> None:
    task = RegressionTask(X, parse("x0 + x1")(X))
    refinement = Refinement(task, constants=False, simplify_seconds=0.0)
    front = refinement.refined(ParetoFront([refinement.judged(parse("tanh(x0) + x1"))]))
    assert [c.expression for c in front] == [refinement.judged(parse("tanh(x0) + x1")).expression]


def test_when_time_is_up_only_the_picked_equation_is_refined() -> None:
    noise = 0.3 * np.random.default_rng(1).normal(size=len(X))
    task = RegressionTask(X, parse("2*x0 + 3*sin(x1)*x2")(X) + noise)
    refinement = Refinement(task, simplify_seconds=0.0)
    texts = ("0.9*x0", "2.1*x0 + 3.2*sin(x1)*x2", "2*x0 + 3*sin(x1)*x2 + 0.013*cos(x0*x1)*x2 + 0.01*x2*exp(-x0)")
    front = ParetoFront.of([refinement.judged(task.refit(parse(text))) for text in texts])
    assert len(front) == 3
    [chosen] = [k for k, candidate in enumerate(front) if candidate is pick(front)]
    hurried = refinement.refined(front, seconds=-1.0)
    assert [k for k in range(3) if k < len(hurried) and hurried[k].expression != front[k].expression] == [chosen]
    whole = refinement.refined(front)
    assert pick(hurried).expression == pick(whole).expression
    assert front[2] in list(hurried)
    assert front[2] not in list(whole), "it was the picked one with terms that say nothing"


@pytest.mark.parametrize(("chi_square", "stays"), [(4.0, False), (30.0, True)])
def test_a_term_stays_whose_constant_is_beyond_three_deviations(chi_square: float, stays: bool) -> None:
    """The noise is orthogonal to both terms, so that the fit changes no constant: chi-square is as intended."""
    noise = np.random.default_rng(2).normal(size=len(X))
    terms = np.stack([np.ones(len(X)), X[:, 0], np.sin(X[:, 1])], axis=1)
    noise -= terms @ np.linalg.lstsq(terms, noise)[0]
    beside = terms[:, 2] - terms[:, :2] @ np.linalg.lstsq(terms[:, :2], terms[:, 2])[0]
    size = np.sqrt(chi_square * np.square(noise).mean() / np.square(beside).sum())
    task = RegressionTask(X, 2.0 * X[:, 0] + size * terms[:, 2] + noise)
    refinement = Refinement(task, simplify_seconds=0.0)
    fitted = refinement.judged(task.refit(parse(f"2*x0 + {size}*sin(x1)")))
    *_, longest = refinement.refined(ParetoFront([fitted]))
    assert ("sin" in longest.expression.infix()) == stays


def test_equations_near_the_front_are_judged_on_all_rows() -> None:
    shortest, near, far, best = map(parse, ("x0", "2*x0", "3*x0 + 1", "sin(x0) + x1"))
    found = {7: (0.4, best), 1: (1.0, shortest), 3: (1.2, near), 5: (1.5, far)}
    assert near_front(found) == [shortest, near, best]


def test_every_refined_equation_is_written_in_powers() -> None:
    """Not the picked one alone: a door may pick another, on rows that the search did not see."""
    rows = np.random.default_rng(3).uniform(1.0, 5.0, (60, 2))
    target = 3.0 * rows[:, 0] * rows[:, 1] ** -0.7 + 0.2 * np.random.default_rng(4).normal(size=60)
    task = RegressionTask(rows, target)
    refinement = Refinement(task, simplify_seconds=0.0)
    texts = ("3*x0 - 1", "exp(log(0.1*x0) - 0.7*log(x1) + 3.4)")
    front = refinement.refined(ParetoFront([refinement.judged(task.refit(parse(text))) for text in texts]))
    written = [candidate.expression.infix() for candidate in front]
    assert len(written) == 2
    assert not any("log" in text or "exp" in text for text in written)


@pytest.mark.parametrize(
    ("law", "found"),
    [
        ("3.95*(1/x0 - 1/x1)", "3.9*(1/x0) - 4.0*(1/x1)"),
        ("0.18*(x1**2 + x0)", "0.17*x1**2 + 0.19*x0"),
        ("9.17*sqrt(x0**2 + x1**2)", "x0*sqrt(84.1*x1**2/x0**2 + 84.0)"),
    ],
)
def test_two_constants_that_the_noise_does_not_tell_apart_become_one(law: str, found: str) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0.5, 3.0, (100, 2))
    target = parse(law)(inputs)
    target = target + 0.05 * target.std() * rng.normal(size=100)
    task = RegressionTask(inputs, target)
    refinement = Refinement(task, simplify_seconds=0.0)
    [candidate] = refinement.refined(ParetoFront.of([refinement.judged(task.refit(parse(found), 20))]))
    assert np.count_nonzero(candidate.expression.constants != 1.0) == 1
    assert nmse(parse(law)(inputs), candidate.expression(inputs)) < 0.01 * 0.05


@pytest.mark.parametrize(
    ("model", "seed"), [("2*x0 + 0.4*x1 + 1 + 0.02*x0*x1", 4), ("1.9*x0/(x1 + 0.05) + 0.3", 9)]
)
def test_what_is_taken_out_never_makes_the_description_longer(model: str, seed: int) -> None:
    """A step of pruning or rounding may cost a little of the error: with many rows that is more than it saves."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(0.5, 4.0, (1000, 2))
    noise = 0.1 * (1 + seed % 3) * rng.normal(size=1000)
    target = 2 * inputs[:, 0] + 1 + 0.3 * np.sin(3 * inputs[:, 1]) + noise
    task = RegressionTask(inputs[:750], target[:750], validation=(inputs[750:], target[750:]))
    refinement = Refinement(task, simplify_seconds=0.0)
    candidate = refinement.judged(task.refit(parse(model)))
    assert pick(refinement.refined(ParetoFront([candidate]))).code <= candidate.code


def test_a_shorter_equation_may_become_exact_to_the_digits_given() -> None:
    """`x2**-0.99999 - 5e-5` is all that kept the law behind something long that meets the digits, too."""
    inputs = np.random.default_rng(5).uniform(0.5, 2.0, (150, 3))
    target = np.array([float(f"{value:.4e}") for value in parse("1.6*x0**2*x1/x2")(inputs)])
    task = RegressionTask(inputs, target)
    refinement = Refinement(task, simplify_seconds=0.0)
    texts = (
        "1.60003*x0**2*x1*x2**(-0.99992) - 1e-4",
        "1.6*x0**2*x1/x2 + 1e-8*x0**3*x1*sin(x0*x2)*cos(x1 - x2)/x2",
    )
    front = ParetoFront.of([refinement.judged(parse(text)) for text in texts])
    assert [candidate.exact for candidate in front] == [False, True]
    assert pick(refinement.refined(front)).expression.infix() == "1.6*x0**2*x1/x2"
