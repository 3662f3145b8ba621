"""The shortlist of a portfolio: equations ranked by the length of a description, not by size and error alone."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.parsing import parse
from searches.common.regression_task import RegressionTask
from searches.portfolio_members.shortlist import MOST, Shortlist, completed_form

RNG = np.random.default_rng(1)
INPUTS = RNG.uniform(0.5, 3.0, (100, 2))
LAW = parse("x0*sqrt(x1)")


def shortlist(target: np.ndarray, *texts: str) -> Shortlist:
    found = Shortlist(RegressionTask(INPUTS, target))
    found.take([parse(text) for text in texts])
    return found


def noisy(clean: np.ndarray) -> np.ndarray:
    return clean + 0.05 * clean.std() * RNG.normal(size=len(clean))


@pytest.mark.parametrize(("scale", "offset", "terms"), [(1.0, 0.0, 0), (2.5, 0.0, 1), (2.5, 4.0, 2)])
def test_an_equation_gets_the_constants_that_it_needs_and_no_more(scale: float, offset: float, terms: int) -> None:
    [rival] = shortlist(noisy(scale * LAW(INPUTS) + offset), "x0*sqrt(x1)").rivals
    assert rival.terms == terms


def test_the_completed_form_has_these_constants() -> None:
    assert completed_form(LAW, 0) == LAW
    values = LAW(INPUTS)
    assert completed_form(LAW, 1).with_constants([3.0])(INPUTS) == pytest.approx(3.0 * values)
    assert completed_form(LAW, 2).with_constants([3.0, 1.0])(INPUTS) == pytest.approx(3.0 * values + 1.0)


def test_the_law_stands_before_equations_of_its_size_that_need_constants() -> None:
    """These are as accurate once a factor and an offset are fitted, which the law does without."""
    found = shortlist(noisy(LAW(INPUTS)), "x0*log(x1)", "x0*sqrt(x1)", "x0*tanh(x1)", "1.1*x0*sqrt(x1 + 0.1)")
    assert found.rivals[0].equation == LAW
    assert found.rivals == sorted(found.rivals, key=lambda rival: rival.code)


def test_a_skeleton_stands_once_with_its_best_constants() -> None:
    target = noisy(np.sin(2.0 * INPUTS[:, 0]))
    [rival] = shortlist(target, "sin(1.5*x0)", "sin(2.0*x0)", "sin(1.9*x0)").rivals
    assert rival.equation == parse("sin(2.0*x0)")


def test_a_long_list_loses_its_worst() -> None:
    functions = ("sin", "exp", "tanh")
    texts = [f"x0*x1**{k} + {name}(x1)*x{i}" for k in (2, 3, 4) for name in functions for i in (0, 1)]
    texts += ["x0*x1 + x0", "x0/x1", "x0*exp(x1)", "log(x0)/x1", "x1 - x0"]
    target = noisy(LAW(INPUTS))
    codes = sorted(shortlist(target, text).rivals[0].code for text in texts)
    assert [rival.code for rival in shortlist(target, *texts).rivals] == pytest.approx(codes[:MOST])
    assert len(texts) > MOST


def test_an_equation_that_is_not_finite_is_left_out() -> None:
    assert not shortlist(LAW(INPUTS), "log(x0 - 1)", "1/(x0 - x0)").rivals


def test_lists_of_two_crews_become_one() -> None:
    target = noisy(LAW(INPUTS))
    one, other = shortlist(target, "x0*x1"), shortlist(target, "x0*sqrt(x1)")
    one.merge(other.rivals)
    assert [rival.equation for rival in one.rivals] == [LAW, parse("x0*x1")]
