"""Constants where they make a difference: nothing is lost, nothing is counted twice."""

import numpy as np
import pytest

from expressions.constant_fitting import fit_constants
from expressions.parsing import parse
from expressions.sampling import SamplingSettings, sample
from expressions.skeleton import Skeleton, completed, skeleton_of, structure_of

SETTINGS = SamplingSettings(
    operators=dict.fromkeys(("add", "sub", "mul", "div", "sin", "exp", "log", "sqrt", "square", "inv"), 1.0),
    variables=3,
    min_size=3,
    max_size=9,
    constant_probability=0.3,
)


@pytest.mark.parametrize(
    ("text", "structure", "whole"),
    [
        ("3*x0 + 2", "x0", "x0"),  # an outer factor and offset go without saying
        ("x0 - 2*x1", "x0 + x1", "x0 + c*x1"),
        ("(2*x0)**2*x1/5", "x1*x0**2", "x1*x0**2"),  # a factor passes outwards
        ("sin(x0)", "sin(x0)", "sin(c*x0)"),  # not through a sine
        ("sin(3*x0 - x1 + 2)", "sin(x0 + x1 + c)", "sin(c*x0 + c*x1 + c)"),
        ("exp(2 - x0*x1)", "exp(x0*x1)", "exp(c*(x0*x1))"),  # exp(a + b) = exp(a) exp(b)
        ("x0*(x1 - (x2 + 3))", "x0*(x1 + x2 + c)", "x0*(x1 + c*x2 + c)"),  # sums in sums are one
        ("sqrt(1 - x0**2)", "sqrt(x0**2 + c)", "sqrt(c*x0**2 + c)"),
        ("1/(x0 + 4/x1)", "1/(x0 + 1/x1)", "1/(x0 + c*(1/x1))"),
        ("2*x0 + 3*x0", "x0", "x0"),
        ("7", "c", "c"),
    ],
)
def test_what_goes_without_saying(text: str, structure: str, whole: str) -> None:
    skeleton = skeleton_of(parse(text))
    assert structure_of(skeleton).infix() == structure
    assert completed(skeleton).infix() == whole


def test_two_sines_may_have_two_frequencies() -> None:
    tokens = tuple(parse("sin(x0) + sin(x0)").tokens.tolist())
    assert completed(Skeleton(tokens)).infix() == "sin(c*x0) + c*sin(c*x0)"
    assert completed(Skeleton(tuple(parse("x0*x1 + x0*x1").tokens.tolist()))).infix() == "x0*x1"


def test_a_structure_says_all_that_its_completion_does() -> None:
    for equation in sample(400, np.random.default_rng(0), SETTINGS):
        skeleton = skeleton_of(equation)
        assert completed(structure_of(skeleton)) == completed(skeleton)
        assert structure_of(structure_of(skeleton)) == structure_of(skeleton)
        assert len(structure_of(skeleton)) <= len(skeleton)


def test_the_constants_of_the_equation_are_among_those_of_its_completion() -> None:
    """Whatever the constants are: fitted, the completion is the equation."""
    rng = np.random.default_rng(1)
    inputs = rng.uniform(0.5, 2.0, (80, 3))
    reached = []
    for equation in sample(120, rng, SETTINGS):
        values = equation.with_constants(rng.uniform(0.5, 2.0, len(equation.constants)))
        with np.errstate(all="ignore"):
            target = np.broadcast_to(values(inputs), 80)
            spread = np.std(target)
            has_pole = np.abs(target - np.median(target)).max() > 8 * spread
        if not np.isfinite(spread) or spread <= 1e-3 * np.abs(target).max() or has_pole:
            continue
        whole = completed(skeleton_of(values)).expression()
        own = np.random.default_rng(0)
        found = fit_constants([whole], inputs, target, iterations=60, starts=200, rng=own, affine=True)
        reached.append(found.errors[0] < 1e-16 * spread**2)
    assert len(reached) > 90
    assert reached.count(False) <= 1  # sin(exp(x + y + c)/z) has frequencies that no start is near
