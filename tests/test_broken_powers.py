"""Powers of roots are shown as one power, with the same values and no longer."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.canonical_form import canonical, canonical_key
from expressions.complexity import complexity
from expressions.parsing import parse
from searches.common.broken_powers import as_broken_powers, as_powers_of_roots
from searches.common.regression_task import RegressionTask
from searches.portfolio import PortfolioSettings, search

ROWS = np.random.default_rng(0).uniform(0.5, 3.0, (20, 2))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x0**2/sqrt(x0)", "x0**1.5"),
        ("x0*sqrt(x0)", "x0**1.5"),
        ("x0**2*sqrt(x0)", "x0**2.5"),
        ("sqrt(x0)/x0**2", "x0**-1.5"),
        ("x0**4*sqrt(x0)", "x0**4.5"),
        ("2*x1*x0*sqrt(x0) + 1", "2*x1*x0**1.5 + 1"),
        ("3*x1/(x0*sqrt(x0))", "3*x1/x0**1.5"),
        ("sqrt(x0)**2", "sqrt(x0)**2"),
        ("1/sqrt(x0)", "1/sqrt(x0)"),
        ("x0*sqrt(x1)", "x0*sqrt(x1)"),
    ],
)
def test_a_whole_power_and_a_root_of_one_base_are_one_power(text: str, shown: str) -> None:
    equation = parse(text, ["x0", "x1"])
    found = as_broken_powers(canonical(equation))
    assert found == parse(shown, ["x0", "x1"])
    assert canonical_key(found) == canonical_key(equation)
    assert complexity(found) <= complexity(equation)
    np.testing.assert_allclose(found(ROWS), equation(ROWS), rtol=1e-13)


@pytest.mark.parametrize("text", ["2*x1*x0*sqrt(x0) + 1", "x0/(x1**2*sqrt(x1))", "sqrt(x0)/x0**2"])
def test_a_power_costs_no_more_than_the_root_that_a_search_has(text: str) -> None:
    equation = canonical(parse(text, ["x0", "x1"]))
    task = RegressionTask(ROWS, equation(ROWS) + np.sin(99.0 * ROWS[:, 0]))
    shown = as_broken_powers(equation)
    assert shown != equation == as_powers_of_roots(shown)
    charges = [task.charged(task.judge(each, complexity(each))).charge for each in (shown, equation)]
    assert charges[0] == pytest.approx(charges[1])


def test_roots_of_roots() -> None:
    assert as_broken_powers(parse("sqrt(sqrt(x0))**3")) == parse("x0**0.75")


def test_a_search_shows_kepler_s_law_as_one_power() -> None:
    distance = np.array([0.387, 0.723, 1.0, 1.524, 5.203, 9.537, 19.19, 30.07])
    settings = PortfolioSettings(seconds=None, evaluations=2_000, methods=("regression",), simplify_seconds=0.0)
    front = search(distance[:, None], np.round(distance**1.5, 3), settings, seed=0).front
    shown = [candidate.expression.infix() for candidate in front]
    assert any("x0**1.5" in text for text in shown)
    assert not any("x0*sqrt(x0)" in text or "sqrt(x0)**3" in text for text in shown)
