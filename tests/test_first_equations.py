"""What a search begins with: which kinds are looked for after a law is known, and what is not hidden."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from expressions.expression import Expression
from expressions.parsing import parse
from searches.direct import first_equations as module
from searches.direct.first_equations import direct_equations, first_equations
from searches.evolution.settings import DEFAULT_OPERATORS

ROWS = np.random.default_rng(3).uniform(0.5, 2.5, (200, 2))
LONG = "x0**2 + 2*x0*x1 + x1**2 + 3*x0 + 3*x1 + 2"  # 21 tokens and more
QUOTIENT = f"({LONG})/(x0**2 + 1.5*x1 + 0.5)"


def answering(*texts: str) -> Callable[..., Iterator[Expression]]:
    return lambda *_: iter([parse(text) for text in texts])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function that gives kinds their answers, and returns which are asked for the target of a formula."""

    def ask(law: str, **answers: str) -> list[str]:
        names: list[str] = []

        def of(name: str) -> Any:
            def find(*_: Any) -> Iterator[Expression]:
                names.append(name)
                return iter([parse(answers[name])] if name in answers else [])

            return find

        monkeypatch.setattr(module, "KINDS", {name: of(name) for name in module.KINDS})
        monkeypatch.setattr(module, "level_place", lambda *_: 0.0)
        direct_equations(ROWS, parse(law)(ROWS), DEFAULT_OPERATORS)
        return names

    return ask


def test_nothing_is_looked_for_after_a_short_law(asked: Callable[..., list[str]]) -> None:
    assert asked("x0*x1", polynomials="x0*x1") == ["polynomials"]


def test_after_a_long_law_the_cheap_kinds_may_find_a_shorter_one(asked: Callable[..., list[str]]) -> None:
    found = asked(LONG, polynomials=LONG)
    assert found == ["polynomials", "rationals", "power_laws", "heavy_tails", "quadratics"]
    assert asked(LONG, polynomials=LONG, power_laws="(x0 + x1 + 1)*(x0 + x1 + 2)")[-1] == "power_laws"


def test_a_long_quotient_may_be_a_composition(asked: Callable[..., list[str]]) -> None:
    assert asked(QUOTIENT, rationals=QUOTIENT)[-1] == "compositions"


def test_a_root_of_a_quotient_is_not_hidden_by_its_square() -> None:
    truth = parse("sqrt(x0**2 + 0.7*x1**2 + 1.3)/(x0 + 1.9*x1 + 0.4*x0*x1)")
    found = first_equations(ROWS, truth(ROWS), DEFAULT_OPERATORS, 10)
    assert len(found[0]) <= len(truth)
    assert np.allclose(found[0](ROWS), truth(ROWS), rtol=1e-9)


def test_after_an_exact_law_little_time_goes_to_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []

    def sums(*arguments: Any) -> list[Expression]:
        given.append(arguments[4])
        return []

    monkeypatch.setattr(module, "linked_sums", sums)
    truth = parse("x0**3 + 0.37*x0**2*x1 - 1.3*x1**3 + 0.9*x0 - 0.11*x1 + 5")
    for seconds in (math.inf, 1e9, 0.3, None):
        first_equations(ROWS, truth(ROWS), DEFAULT_OPERATORS, 10, seconds)
    assert given == [module._LOOK_SECONDS, module._LOOK_SECONDS, None]


def test_a_mistake_in_a_kind_is_seen_and_what_cannot_be_computed_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(error: Exception) -> Callable[..., Iterator[Expression]]:
        def find(*_: Any) -> Iterator[Expression]:
            yield parse("x1")
            raise error

        return find

    for error in (np.linalg.LinAlgError("SVD did not converge"), ZeroDivisionError(), OverflowError()):
        monkeypatch.setattr(module, "KINDS", {"polynomials": raising(error), "rationals": answering("x0")})
        assert list(direct_equations(ROWS, ROWS[:, 0], DEFAULT_OPERATORS)) == [parse("x1"), parse("x0")]
    monkeypatch.setattr(module, "KINDS", {"polynomials": raising(TypeError())})
    with pytest.raises(TypeError):
        direct_equations(ROWS, ROWS[:, 0], DEFAULT_OPERATORS)
