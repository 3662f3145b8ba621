"""Variables that stand together are seen by the slopes of a polynomial, and what is none is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.canonical_form import canonical
from expressions.parsing import parse
from searches.direct import first_equations
from searches.direct.first_equations import direct_equations
from searches.direct.surrogates import surrogate
from searches.direct.symmetries import reduced, replaced
from searches.evolution.settings import DEFAULT_OPERATORS
from searches.links.stepwise import EXACT


def rows(columns: int, count: int = 300, low: float = 0.5, high: float = 3.0) -> np.ndarray:
    return np.random.default_rng(5).uniform(low, high, (count, columns))


@pytest.mark.parametrize(
    ("law", "pair"),
    [
        ("exp(-0.3*(x0 - x2)**2)*x1", "x0 - x2"),
        ("log(x0 + x2 + 1)*sqrt(x1)", "x0 + x2"),
        ("tanh(x0/x2) + x1**2", "x0/x2"),
        ("1/(x1 + log(1 + x0*x2))", "x0*x2"),
        ("x1*exp(-0.2*sqrt(x0**2 + x2**2))", "x0**2 + x2**2"),
        ("tanh(0.1*(x0**2 - x2**2) + 0.3*x1**2*sqrt(x1))", "x0**2 - x2**2"),
    ],
)
def test_a_pair_is_one_column(law: str, pair: str) -> None:
    inputs = rows(3)
    found = reduced(inputs, parse(law)(inputs), DEFAULT_OPERATORS)
    assert found is not None
    assert canonical(parse(pair)) in [canonical(column) for column in found.columns]
    for number, column in enumerate(found.columns):
        assert np.allclose(found.inputs[:, number], column(inputs))
    assert found.restored(parse("x0 + 2*x1"))(inputs) == pytest.approx(found.inputs[:, 0] + 2 * found.inputs[:, 1])


def test_pairs_of_pairs_are_put_together() -> None:
    inputs = rows(5)
    found = reduced(inputs, parse("tanh(0.1*(x0 - x1)*(x2 + x3)) + 0.3*x4**2")(inputs), DEFAULT_OPERATORS)
    assert found is not None
    pair = canonical(parse("(x0 - x1)*(x2 + x3)"))
    assert [canonical(column) for column in found.columns] == [parse("x4"), pair]


@pytest.mark.parametrize("law", ["x0**2*x1 + sin(x2)*x0 + x1*x2**2", "exp(x0*x1**2) + x0*x2 - x2**2*x1"])
def test_what_does_not_stand_together_is_left_alone(law: str) -> None:
    inputs = rows(3, low=0.5, high=2.0)
    assert reduced(inputs, parse(law)(inputs), DEFAULT_OPERATORS) is None


def test_noise_few_rows_and_constant_columns_are_no_symmetry() -> None:
    inputs = rows(3)
    assert reduced(inputs, np.random.default_rng(1).normal(size=300), DEFAULT_OPERATORS) is None
    target = parse("exp(x0 - x1)*x2")(inputs)
    assert reduced(inputs[:40], target[:40], DEFAULT_OPERATORS) is None
    inputs[:, 2] = 1.0
    assert reduced(inputs, target, DEFAULT_OPERATORS) is None


def test_only_operators_that_may_occur_are_used() -> None:
    inputs = rows(3)
    target = parse("tanh(x0/x2) + x1**2")(inputs)
    assert reduced(inputs, target, [name for name in DEFAULT_OPERATORS if name not in ("div", "inv")]) is None


def test_a_law_of_pairs_is_found_that_is_none_without(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = rows(4)
    truth = parse("exp(1.3*(x2 + x3) - 0.47*(x2 + x3)**2)*(2.5*(x0 - x1) - 1.4*(x0 - x1)**2)")
    target = truth(inputs)
    found = direct_equations(inputs, target, DEFAULT_OPERATORS)
    best = min(found, key=found.__getitem__)
    assert found[best] < EXACT
    fresh = np.random.default_rng(6).uniform(0.5, 3.0, (50, 4))
    assert np.allclose(best(fresh), truth(fresh), rtol=1e-8)
    monkeypatch.setattr(first_equations, "reduced", lambda *_: None)
    costly = {name: find for name, find in first_equations.KINDS.items() if name != "compositions"}
    monkeypatch.setattr(first_equations, "KINDS", costly)
    found = direct_equations(inputs, target, DEFAULT_OPERATORS)
    assert min(found.values(), default=1.0) > EXACT


def test_the_degree_of_a_surrogate_is_that_of_the_law() -> None:
    inputs = rows(2, low=-1.0, high=1.0)
    truth = parse("x0**3*x1 - 2*x1**2 + x0")
    found = surrogate(inputs, truth(inputs))
    assert found.exponents.sum(axis=1).max() == 4
    assert found.error < 1e-20
    fresh = np.random.default_rng(8).uniform(-1.0, 1.0, (20, 2))
    assert np.allclose(found(fresh), truth(fresh))
    x, y = fresh.T
    assert np.allclose(found.slopes(fresh), np.stack([3 * x**2 * y + 1, x**3 - 4 * y], axis=1), atol=1e-6)
    assert surrogate(inputs, np.random.default_rng(1).normal(size=300)).error > 0.8


def test_variables_are_replaced_by_expressions() -> None:
    found = replaced(parse("sin(x0)*x1 + 2.5"), [parse("x1 - x2"), parse("x0/x3")])
    assert found == parse("sin(x1 - x2)*(x0/x3) + 2.5")
