"""A long table: a search looks at some thousands of its rows, and all of them judge in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.expression import Expression
from expressions.goodness_of_fit import r2
from expressions.parsing import parse
from expressions.skeleton import skeleton_of
from searches import genetic_programming, latent_cmaes, link_regression, portfolio, structures
from searches.common.chosen_rows import chosen_rows
from searches.common.exactness import ExactnessCheck
from searches.common.refinement import Refinement
from searches.common.whole_table import REFINED_ROWS, WholeTable
from searches.evolution.settings import GeneticProgrammingSettings
from searches.latent_space.settings import LatentSearchSettings
from searches.links.settings import LinkRegressionSettings
from searches.pareto_front import ParetoFront
from searches.portfolio import PortfolioSettings
from searches.search_result import SearchResult
from searches.structures import StructureSearchSettings
from tests.latent_maps import CodeMap

RNG = np.random.default_rng(0)
ROWS = REFINED_ROWS + 2_000
X = RNG.uniform(0.5, 2.0, (ROWS, 3))
NOISY = 2.0 * X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=ROWS)
HELD_OUT = (X[::-1] + 0.01, NOISY[::-1])
EQUATIONS = [parse(text) for text in ("1.9*x0*x1", "x0 + x1", "3.1", "2*x0*x1 + 0.01*sin(x2)")]


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([2, 257, 700, 1100]), st.sampled_from([0, 1, 9])
)
def test_the_rows_hold_the_extremes_of_every_column(seed: int, columns: int, rows: int, digits: int) -> None:
    """As sorting would find them: of equal small values the first rows, of equal large ones the last."""
    rng = np.random.default_rng(seed)
    inputs, target = rng.normal(size=(rows, columns)).round(digits), rng.normal(size=rows).round(digits)
    kept = chosen_rows(inputs, target, 300, np.random.default_rng(1))
    assert len(set(kept.tolist())) == min(rows, 300)
    assert (np.diff(kept) > 0).all()
    tail = max(1, 300 // (20 * (columns + 1)))
    for column in [*inputs.T, target]:
        order = np.argsort(column, kind="stable")
        assert {*order[:tail].tolist(), *order[-tail:].tolist()} <= set(kept.tolist())


@pytest.mark.parametrize("weights", [None, RNG.uniform(0.0, 2.0, ROWS)])
def test_scores_are_those_on_all_rows(weights: np.ndarray | None) -> None:
    table = WholeTable(X, NOISY, validation=HELD_OUT, weights=weights)
    task = table.task(search_rows=100, seed=0)
    assert len(task.target) == len(task.validation[1]) == REFINED_ROWS
    front = ParetoFront([task.judge(equation, 10 - place) for place, equation in enumerate(EQUATIONS)])
    scored, notes = table.scored(front, task)
    assert not notes
    for candidate in scored:
        squares = (candidate.expression(X) - NOISY) ** 2
        spread = (NOISY - np.average(NOISY, weights=weights)) ** 2
        expected = np.average(squares, weights=weights) / np.average(spread, weights=weights)
        assert candidate.train_nmse == pytest.approx(expected, rel=1e-9)
        assert candidate.validation_nmse == pytest.approx(1 - r2(HELD_OUT[1], candidate.expression(HELD_OUT[0])))


def test_without_time_the_front_stays_and_a_sentence_says_so() -> None:
    table = WholeTable(X, NOISY)
    task = table.task(search_rows=100, seed=0)
    front = ParetoFront.of([task.judge(equation, 3) for equation in EQUATIONS])
    scored, [note] = table.scored(front, task, seconds=0.0)
    assert scored is front
    assert "errors are those on 10,000 of 12,000 rows" in note


def test_an_equation_that_fails_on_one_row_of_many_is_not_exact() -> None:
    exact = 2.0 * X[:, 0] * X[:, 1]
    table = WholeTable(X, exact)
    task = table.task(search_rows=100, seed=0)
    assert ExactnessCheck(table, task, Refinement(task)).check(parse("x0*x1"))
    unseen = int(np.setdiff1d(np.arange(ROWS), chosen_rows(X, exact, REFINED_ROWS, np.random.default_rng(0)))[0])
    spoiled = exact.copy()
    spoiled[unseen] *= 1.01
    table = WholeTable(X, spoiled)
    task = table.task(search_rows=100, seed=0)
    assert task.judge(parse("2*x0*x1"), 3).error < 1e-20
    assert not ExactnessCheck(table, task, Refinement(task)).check(parse("x0*x1"))


def _latent(*data: Any, **options: Any) -> SearchResult:
    book = CodeMap([skeleton_of(parse(text)) for text in ("x0*x1", "x0 + x1")], variables=3)
    settings = LatentSearchSettings(seconds=None, decodes=32, polish_generations=1, simplify_seconds=0)
    return latent_cmaes.search(*data, settings, latent_map=book, seed=0, **options)


SEARCHES: dict[str, Callable[..., SearchResult]] = {
    "genetic_programming": lambda *data, **options: genetic_programming.search(
        *data,
        GeneticProgrammingSettings(population=30, bank_size=50, generations=1, linked_sums=0, simplify_seconds=0),
        seed=0,
        **options,
    ),
    "link_regression": lambda *data, **options: link_regression.search(
        *data,
        LinkRegressionSettings(operators=("add", "mul"), simplify_seconds=0),
        seed=0,
        **options,
    ),
    "structures": lambda *data, **options: structures.search(
        *data,
        StructureSearchSettings(seconds=None, instances=300, proposals=100, simplify_seconds=0),
        seed=0,
        **options,
    ),
    "latent_cmaes": _latent,
    "portfolio": lambda *data, **options: portfolio.search(
        *data,
        PortfolioSettings(seconds=None, evaluations=300, methods=("genetic_programming",), simplify_seconds=0),
        seed=0,
        **options,
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_only_the_last_scores_look_at_all_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[int] = []
    call = Expression.__call__

    def noted(self: Expression, inputs: np.ndarray) -> np.ndarray:
        evaluated.append(len(inputs))
        return call(self, inputs)

    monkeypatch.setattr(Expression, "__call__", noted)
    result = SEARCHES[name](X, NOISY, validation=HELD_OUT)
    assert evaluated
    assert max(evaluated) <= REFINED_ROWS
    monkeypatch.undo()
    for candidate in result.front:
        assert candidate.train_nmse == pytest.approx(1 - r2(NOISY, candidate.expression(X)), rel=1e-9)
        assert candidate.validation_nmse == pytest.approx(1 - r2(HELD_OUT[1], candidate.expression(HELD_OUT[0])))
    assert len(result.front)
