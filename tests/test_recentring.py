"""Exact laws about the middle of their symmetry."""

from __future__ import annotations

import numpy as np
import pytest

from expressions.parsing import parse
from searches.direct.first_equations import direct_equations
from searches.direct.recentring import level_place, with_distances
from searches.evolution.settings import DEFAULT_OPERATORS

ROWS = np.random.default_rng(4).uniform([0.0, 1.0], [9.0, 3.0], (200, 2))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x0**2*x1 - 8.5*x0*x1 + 1", 4.25),
        ("x1/(x0**2 - 10*x0 + 27)", 5.0),
        ("cos(0.15*(x0 - 2))*x1 + (x0 - 2)**2", 2.0),
        ("exp(x0) + x1", None),
        ("x0**2 - x0*x1", None),
        ("sin(9*x0) + x1", None),
        ("x0*x1 + 2", None),
    ],
)
def test_level_places_do_not_depend_on_other_columns(text: str, place: float | None) -> None:
    found = level_place(parse(text), ROWS, 0)
    assert found == place if place is None else found == pytest.approx(place, rel=1e-9)


def test_distances_stand_for_the_column() -> None:
    assert with_distances(parse("x0*x1 + 1"), 0, 4.0).infix() == "(x0 - 4)*x1 + 1"


@pytest.mark.parametrize("text", ["x1*(x0 - 4.25)**2 + 1", "x1/((x0 - 5)**2 + x1)", "(x0 - 2)**2 + (x1 - 1.5)**2"])
def test_exact_laws_are_written_about_their_middle(text: str) -> None:
    target = parse(text)(ROWS)
    found = direct_equations(ROWS, target, DEFAULT_OPERATORS)
    best = min(found, key=lambda one: (max(found[one], 1e-18), len(one)))
    assert len(best) <= len(parse(text))
    assert found[best] < 1e-20


def test_eastings_are_written_from_the_laws_own_centre() -> None:
    inputs = ROWS + np.array([500_000.0, 0.0])
    target = (inputs[:, 0] - 500_004) ** 2 * inputs[:, 1] + 1
    found = direct_equations(inputs, target, DEFAULT_OPERATORS)
    best = min(found, key=lambda one: (max(found[one], 1e-18), len(one)))
    assert "x0 - 500004" in best.infix()
