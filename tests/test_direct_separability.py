"""Parts without a common variable are told by polynomials and waves, and searched alone; what is none is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.parsing import parse
from searches.direct.first_equations import direct_equations
from searches.direct.separability import equations_of_parts
from searches.direct.split_surrogates import SplitSurrogates
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.links.stepwise import EXACT


def rows(columns: int, count: int = 300, low: float = 0.5, high: float = 3.0, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (count, columns))


def asked(inputs: np.ndarray, target: np.ndarray, known: Mapping[Expression, float]) -> list[Any]:
    """The tables that parts are searched in, where nothing is found: inputs, target and noise of each."""
    tables: list[Any] = []

    def search(*table: Any) -> dict[Expression, float]:
        tables.append(table)
        return {}

    assert not list(equations_of_parts(inputs, target, known, DEFAULT_OPERATORS, search, EXACT))
    return tables


@pytest.mark.parametrize(
    "law",
    [
        "3.1*exp(-1.7*(x0 - 1.3)**2)*x0 + sqrt(x1**2 + 2.3*x1*x2 + 0.4)*2.7",
        "(2.2*sin(37.1*x0) + 4.1*x0)*(1.3 + exp(0.7*x1 - 0.9*x1**2))",
    ],
)
def test_a_law_in_parts_is_found_that_no_kind_finds_as_a_whole(law: str) -> None:
    truth = parse(law)
    inputs = rows(len(truth.variables))
    target = truth(inputs)
    found = direct_equations(inputs, target, DEFAULT_OPERATORS)
    best = min(found, key=found.__getitem__)
    assert found[best] <= EXACT
    fresh = rows(len(truth.variables), seed=6)
    assert np.allclose(best(fresh), truth(fresh), rtol=1e-8)


def test_parts_are_searched_with_their_noise() -> None:
    inputs = rows(3)
    first, second = parse("exp(-1.7*(x0 - 1.3)**2)"), parse("sqrt(x1**2 + 2.3*x1*x2 + 0.4)")
    for name, target in (("add", first(inputs) + second(inputs)), ("mul", first(inputs) * second(inputs) + 2.5)):
        some, values, noise = asked(inputs, target, {})[0]
        place = [column for column in range(3) if np.isin(some[:, 0], inputs[:, column]).all()]
        assert place == [0]
        assert some.shape[1] == 1
        truth = first(some)
        fitted = np.polynomial.Polynomial.fit(truth, values, 1) if name == "add" else None
        expected = fitted(truth) if fitted else truth * (values @ truth) / (truth @ truth)
        left = float(np.var(values - expected) / np.var(values))
        assert left <= noise < 1e-4


def test_what_is_not_in_parts_is_left_alone() -> None:
    inputs = rows(3, low=0.5, high=2.0)
    for law in ("x0**2*x1 + sin(x2)*x0 + x1*x2**2", "exp(x0*x1) + x0*x2 - x2**2*x1"):
        assert not asked(inputs, parse(law)(inputs), {})
    assert not asked(inputs, np.random.default_rng(1).normal(size=300), {})
    target = parse("exp(x0) + sqrt(x1 + x2)")(inputs)
    assert asked(inputs, target, {})
    assert not asked(inputs[:40], target[:40], {})
    assert not asked(np.ones((300, 3)) * inputs[:, :1] * [1.0, 0.0, 0.0], target, {})


def test_fast_waves_that_are_known_are_in_a_part() -> None:
    inputs = rows(2)
    law = parse("2*cos(61.7*x0**2) + exp(0.4*x1)*x1")
    assert not asked(inputs, law(inputs), {})
    known = {parse("1.7*cos(61.7*x0**2) + 0.4*x1"): 0.3, parse("sin(3*x1)"): 0.9}
    some, values, noise = asked(inputs, law(inputs), known)[0]
    assert np.array_equal(some, inputs[:, :1])
    wave = 2 * np.cos(61.7 * some[:, 0] ** 2)
    assert np.var(values - wave) <= noise * np.var(values)
    assert noise < 1e-12


def test_a_product_and_a_constant_are_told() -> None:
    inputs = rows(2)
    surrogates = SplitSurrogates(inputs, parse("(x0**2 - 3)*(x1**3 - 2*x1) + 7.5")(inputs))
    [total, product] = surrogates.first(((0,), (1,)))
    product = surrogates.best(product)
    assert (total.name, product.name) == ("add", "mul")
    assert product.error < 1e-20 < 1e-3 < total.error
    assert product.offset == pytest.approx(7.5, abs=1e-8)
    ratios = product.values / [parse("x0**2 - 3")(inputs), parse("x1**3 - 2*x1")(inputs)]
    assert np.allclose(ratios, ratios[:, :1])


def test_both_parts_are_fitted_together_without_a_constant_twice() -> None:
    inputs = rows(2)
    forms = [parse("2.9*exp(0.5001*x0) + 4"), parse("1.1*sqrt(x0 + 0.7) + 3")]
    calls: list[float] = []

    def search(some: np.ndarray, values: np.ndarray, noise: float) -> dict[Expression, float]:
        fit = fit_constants([forms[len(calls)]], some, values, iterations=30)
        calls.append(noise)
        return {fit.expressions[0]: float(fit.errors[0] / np.var(values))}

    target = parse("3*exp(0.5*x0) + 1.25*sqrt(x1 + 0.64)")(inputs)
    found = list(equations_of_parts(inputs, target, {}, DEFAULT_OPERATORS, search, EXACT))
    assert len(calls) == 2
    assert len(found[-1].constants) == 5
    assert np.allclose(found[-1](inputs), target, rtol=1e-12)


def test_a_search_that_finds_nothing_is_asked_a_few_times_only() -> None:
    inputs = rows(4)
    assert 0 < len(asked(inputs, parse("exp(x0) + sqrt(x1 + 1) + x2*x2*log(x3 + 1)")(inputs), {})) <= 4
