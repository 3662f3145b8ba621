"""The list of all small equations: which laws are on it, under noise, and that it is always the same."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from expressions.parsing import parse
from searches.common.description_length import NODE_NATS, NODE_NATS_HELD_OUT
from searches.common.regression_task import RegressionTask
from searches.common.whole_table import WholeTable
from searches.direct.first_equations import first_equations
from searches.direct.small_equations import loosened, small_equations
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.portfolio_members import regression
from searches.portfolio_members.data import PortfolioData
from searches.portfolio_members.member import Offer
from searches.portfolio_members.settings import PortfolioSettings
from searches.portfolio_members.shortlist import Shortlist

ROWS = 80


def noisy(truth: str, noise: float = 0.03) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    law = parse(truth)
    inputs = rng.uniform(0.3, 1.5, (ROWS, max(law.variables) + 1))
    clean = law(inputs)
    return inputs, clean + noise * clean.std() * rng.normal(size=ROWS), clean


def express(equations: list[Expression], inputs: np.ndarray, clean: np.ndarray) -> list[bool]:
    """Whether the structures can express the law."""
    errors = fit_constants(equations, inputs, clean, iterations=30, affine=True).errors
    return [bool(error < 1e-10 * clean.var()) for error in errors]


@pytest.mark.parametrize(
    "truth",
    [
        "tanh(x0*x1*x2)",
        "sin(x1*cos(x0))",
        "3*x0*sqrt(x1)/(x1*(x0 + 1)) - 2",
        "x1*exp(-x0)",
        "sqrt(cos(x1))**3 + x0",
        "1.35*cos(exp(x1) + x0)",
        "x0*log(x1)/x2 + 7.42",
    ],
)
def test_a_small_law_leads_the_shortlist_under_noise(truth: str) -> None:
    inputs, target, clean = noisy(truth)
    listed = small_equations(inputs, target, DEFAULT_OPERATORS, 300)
    shortlist = Shortlist(RegressionTask(inputs, target))
    shortlist.take(listed)
    assert any(express([rival.equation for rival in shortlist.rivals], inputs, clean))


def test_factors_within_functions_are_left_to_a_fit() -> None:
    assert loosened(parse("exp(x0) + log(x1)*cos(x0*x1)")) == parse("exp(1*x0) + log(x1)*cos(1*(x0*x1))")


def test_only_allowed_operators_occur_and_the_list_is_always_the_same() -> None:
    inputs, target, _ = noisy("x0*x1 + x0")
    listed = small_equations(inputs, target, ("add", "mul"), 50)
    names = {name for each in listed for name in ("sin", "exp", "/", "-", "sqrt") if name in each.infix()}
    assert not [name for name in names if name != "-"]
    assert all(each.variables for each in listed)
    assert listed == small_equations(inputs, target, ("add", "mul"), 50)


def test_rows_of_no_weight_say_nothing() -> None:
    inputs, target, clean = noisy("tanh(x0*x1*x2)")
    weights = np.ones(ROWS)
    weights[::4], target[::4] = 0.0, 50.0
    listed = small_equations(inputs, target, DEFAULT_OPERATORS, 20, weights=weights)
    assert any(express(listed, inputs, clean))
    unweighted = small_equations(inputs, target, DEFAULT_OPERATORS, 20)
    assert not any(express(unweighted, inputs, clean))


def test_few_rows_and_a_constant_target_have_none() -> None:
    inputs, target, _ = noisy("x0*x1")
    assert not small_equations(inputs[:7], target[:7], DEFAULT_OPERATORS, 20)
    assert not small_equations(inputs, np.ones(ROWS), DEFAULT_OPERATORS, 20)


def test_sums_have_the_factor_that_fits_best() -> None:
    inputs, target, clean = noisy("x0**2 + 2.5*sin(x1)", noise=0.0)
    fitted = [each for each in small_equations(inputs, target, DEFAULT_OPERATORS, 20) if each.constants.size]
    lines = [np.polyval(np.polyfit(each(inputs), clean, 1), each(inputs)) for each in fitted]
    assert min(nmse(clean, line) for line in lines) < 1e-6


@pytest.mark.parametrize(("noise", "digits", "listed"), [(0.0, 17, False), (0.0, 6, False), (0.03, 17, True)])
def test_nothing_is_listed_where_the_law_is_found_outright(
    noise: float, digits: int, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, target, _ = noisy("2.5*x0**2*x1 + 1.5", noise)
    target = np.array([float(f"{value:.{digits - 1}e}") for value in target])
    calls: list[int] = []
    monkeypatch.setattr(regression, "small_equations", lambda *_: calls.append(1) or [])
    task = RegressionTask(inputs, target)
    regression.RegressionMember(task, Offer((0,), DEFAULT_OPERATORS, 60, None, ())).step()
    assert bool(calls) == listed


def test_a_law_of_few_constants_is_not_cut_behind_more_accurate_sums() -> None:
    rng = np.random.default_rng(5)
    inputs = rng.uniform(0.5, 3.0, (30, 2))
    clean = parse("0.66*x0**(-0.39)/x1")(inputs)
    target = clean + 0.05 * clean.std() * rng.normal(size=30)
    some = first_equations(inputs, target, DEFAULT_OPERATORS, 12)
    assert any(express(some, inputs, clean))


def test_a_node_of_the_shortlist_costs_what_it_costs_where_an_equation_is_picked() -> None:
    inputs, target, _ = noisy("x0*x1")
    settings = PortfolioSettings(seconds=1.0)
    bare = PortfolioData(WholeTable(inputs, target), settings, 0)
    held = PortfolioData(WholeTable(inputs[:60], target[:60], validation=(inputs[60:], target[60:])), settings, 0)
    assert (bare.shown_task.node_nats, held.shown_task.node_nats) == (NODE_NATS, NODE_NATS_HELD_OUT)
