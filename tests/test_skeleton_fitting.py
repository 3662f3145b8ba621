"""Skeletons fitted and scored, whatever their company; and the repository of the best structures."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.structure_space import StructureSpace
from expressions.operators import CONSTANT
from expressions.parsing import parse
from searches.common import skeleton_fitting
from searches.common.skeleton_fitting import Fitted, SkeletonFitter
from searches.gumbel_structures.repository import Elite, StructureRepository

Tokens = tuple[int, ...]
SPACE = StructureSpace(
    Architecture(["id*2 square sin*2 cos exp mul div", "add*2 mul*2 div id sum", "add mul sqrt sin id"], 2)
)


def table(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    inputs = rng.uniform(0.5, 3.0, (rows, 2))
    return inputs, 1.2 * np.sin(1.7 * inputs[:, 0]) * inputs[:, 1] + 0.3 + 0.01 * rng.normal(size=rows)


def fitter(**options: Any) -> SkeletonFitter:
    return SkeletonFitter(*table(), **({"seed": 1, "longest": 40} | options))


def skeleton(text: str) -> Tokens:
    return tuple(parse(text).tokens.tolist())


def random_skeletons(count: int, seed: int = 0) -> list[Tokens]:
    rng = np.random.default_rng(seed)
    found: dict[Tokens, None] = {}
    while len(found) < count:
        found[SPACE.decode(rng.integers(SPACE.choices)).tokens] = None
    return list(found)


def told(fits: list[Fitted | None]) -> list[Any]:
    """All of some fits, to the last bit."""
    return [f and (f.score, f.nmse, f.expression.tokens.tolist(), f.expression.constants.tolist()) for f in fits]


TRUTH = skeleton("1*(x1*sin(1*x0)) + 1")
LINE = skeleton("1*x0 + 1*x1 + 1")


# --- what a fit depends on --------------------------------------------------------------------------------------


def test_neither_company_nor_order_nor_memory_changes_a_fit() -> None:
    skeletons = random_skeletons(160)
    together = told(fitter().fit(skeletons, math.inf))
    assert sum(fit is not None for fit in together) > 100
    shuffled = np.random.default_rng(2).permutation(len(skeletons))
    others = told(fitter().fit([skeletons[k] for k in shuffled], math.inf))
    assert [others[k] for k in np.argsort(shuffled)] == together
    alone = fitter()
    assert [told(alone.fit([tokens], math.inf))[0] for tokens in skeletons[:40]] == together[:40]
    alone.forget()
    assert told(alone.fit(skeletons[30:60], math.inf)) == together[30:60]
    assert told(alone.fit(skeletons[:60], math.inf)) == together[:60], "half of them remembered"
    assert told(alone.fit([*skeletons[:3], *skeletons[:3]], math.inf)) == together[:3] * 2


def test_the_seed_decides_where_a_fit_starts() -> None:
    skeletons = random_skeletons(60)
    assert told(fitter(seed=2).fit(skeletons, math.inf)) != told(fitter().fit(skeletons, math.inf))


def test_a_bar_is_for_screened_scores_and_says_no_more_than_that() -> None:
    skeletons = random_skeletons(80)
    everything = fitter().fit(skeletons, math.inf)
    scores = sorted(fit.score for fit in everything if fit is not None)
    bar = scores[len(scores) // 3]
    fresh = fitter()
    below = fresh.fit(skeletons, bar)
    assert 0 < sum(fit is not None for fit in below) < len(scores)
    assert all(one is None or one == other for one, other in zip(told(below), told(everything), strict=True))
    experienced = fitter()
    experienced.fit(skeletons, math.inf)
    assert told(experienced.fit(skeletons, bar)) == told(below), "what was fitted before is not told"
    assert fresh.fit(skeletons, -math.inf) == [None] * len(skeletons)


def test_an_overflowing_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    skeletons = random_skeletons(60)
    wanted = told(fitter().fit(skeletons, math.inf))
    monkeypatch.setattr(skeleton_fitting, "_MOST_REMEMBERED", 25)
    small = fitter()
    parts = [told(small.fit(skeletons[k : k + 20], math.inf)) for k in (0, 10, 20, 30, 40)]
    assert parts == [wanted[k : k + 20] for k in (0, 10, 20, 30, 40)]


# --- what a fit is ----------------------------------------------------------------------------------------------


def test_a_fit_states_its_error_and_its_score() -> None:
    inputs, target = table()
    own = fitter(search_rows=400, parsimony=0.3)
    (fit,) = own.fit([TRUTH], math.inf)
    assert fit is not None
    assert tuple(fit.expression.tokens.tolist()) == TRUTH
    residual = fit.expression(inputs) - target
    assert fit.nmse == pytest.approx(np.mean(residual**2) / np.var(target), rel=1e-9)
    assert fit.score == pytest.approx(math.log(fit.nmse) + 0.3 * len(TRUTH))
    assert fit.nmse < 1e-3
    np.testing.assert_allclose(np.abs(fit.expression.constants), [1.2, 1.7, 0.3], rtol=0.05)


def test_a_frequency_in_another_basin_is_found() -> None:
    inputs = np.random.default_rng(0).uniform(0.0, 10.0, (300, 2))
    target = 1.1 * inputs[:, 0] * np.cos(5.2 * inputs[:, 1])
    tokens = skeleton("1*(x0*cos(1*x1)) + 1")
    one, several = (SkeletonFitter(inputs, target, frequency_starts=n) for n in (1, 12))
    (lost,), (found,) = one.fit([tokens], math.inf), several.fit([tokens], math.inf)
    assert lost is not None and found is not None  # noqa: PT018
    assert lost.nmse > 0.1
    assert found.nmse < 1e-20
    assert several.exact
    assert not one.exact


def test_what_is_too_long_or_nowhere_finite_has_no_fit() -> None:
    impossible = skeleton("1*sqrt(-x0**2) + 1")
    own = fitter(longest=len(TRUTH))
    long = skeleton("1*(x1*sin(1*x0)) + 1*x0 + 1")
    assert len(long) > len(TRUTH)
    fits = own.fit([long, impossible, TRUTH, skeleton("1*log(-exp(1*x0)) + 1")], math.inf)
    assert [fit is not None for fit in fits] == [False, False, True, False]
    assert set(own.best) == {len(TRUTH)}
    assert own.fit([], math.inf) == []


def test_the_best_of_every_length_is_kept() -> None:
    own = fitter()
    fits = own.fit([LINE, TRUTH, skeleton("1*(x0*sin(1*x1)) + 1"), skeleton("1")], math.inf)
    line, truth, other, constant = (fit for fit in fits if fit is not None)
    assert len(TRUTH) == len(other.expression.tokens)
    assert truth.nmse < other.nmse
    assert own.best == {
        len(LINE): (line.nmse, line.expression),
        len(TRUTH): (truth.nmse, truth.expression),
        1: (constant.nmse, constant.expression),
    }
    own.note(TRUTH, None)
    own.note(TRUTH, other)
    assert own.best[len(TRUTH)] == (truth.nmse, truth.expression)
    better = Fitted(-99.0, 1e-30, parse("x0*x1"))
    own.note(TRUTH, better)
    assert own.best[len(TRUTH)] == (1e-30, better.expression)
    assert own.exact


def test_a_state_goes_round_and_keeps_every_bit() -> None:
    own = fitter()
    own.fit(random_skeletons(40), math.inf)
    other = fitter()
    other.load(own.state_check(json.loads(json.dumps(own.state()))))
    assert other.best == own.best
    assert other.state() == own.state()
    assert len(own.best) > 5


# --- data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "target", "words"),
    [
        (np.ones((10, 1)), np.full(10, 3.0), "the target is 3.0 on every row"),
        (np.ones((1, 1)), np.ones(1), "on every row"),
        (np.array([[1.0], [np.nan]]), np.arange(2.0), "not finite"),
        (np.ones((2, 1)), np.array([1.0, np.inf]), "not finite"),
        (np.ones((0, 1)), np.ones(0), r"are not \[rows"),
        (np.ones((5, 1)), np.ones(4), r"are not \[rows"),
        (np.ones((2, 1)), np.array([0.0, 1e200]), "scale it"),
    ],
)
def test_data_that_cannot_be_searched_are_refused(inputs: np.ndarray, target: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SkeletonFitter(inputs, target)


def test_held_out_rows_are_checked_too() -> None:
    with pytest.raises(ValueError, match="validation"):
        SkeletonFitter(*table(), validation=(np.ones((3, 2)), np.full(3, np.nan)))


def test_two_rows() -> None:
    own = SkeletonFitter(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([1.0, 3.0]))
    fits = own.fit([skeleton("1*x0 + 1"), *random_skeletons(30)], math.inf)
    assert fits[0] is not None
    assert fits[0].nmse < 1e-20
    assert own.exact


@pytest.mark.parametrize(("of_x", "of_y"), [(1e-20, 1e30), (1e20, 1e-30), (1e-20, 1e-30), (1.0, 1e17)])
def test_huge_and_tiny_scales(of_x: float, of_y: float) -> None:
    inputs, _ = table()
    target = of_y * (2.0 * inputs[:, 0] / inputs[:, 1] + 1.5 * inputs[:, 0])
    own = SkeletonFitter(of_x * inputs, target, search_rows=100)
    true, line = own.fit([skeleton("1*x0 + 1*(x0/x1) + 1"), LINE], math.inf)
    assert true is not None and line is not None  # noqa: PT018
    assert true.nmse < 1e-25
    assert 1e-4 < line.nmse < 1.0
    np.testing.assert_allclose(true.expression(of_x * inputs), target, rtol=1e-9)


def test_a_long_table_costs_no_more_than_a_short_one() -> None:
    inputs, target = table(200_000)
    own = SkeletonFitter(inputs, target)
    assert len(own.task.search_target) == 300
    (fit,) = own.fit([TRUTH], math.inf)
    assert fit is not None
    assert fit.nmse < 1e-3
    assert np.mean((fit.expression(inputs) - target) ** 2) < 2e-4


# --- the repository ---------------------------------------------------------------------------------------------


def elite(score: float, number: int | None = None, places: int = 12) -> Elite:
    number = int(score) if number is None else number
    used = np.zeros(places, dtype=bool)
    used[number % places] = True
    return Elite(score, (CONSTANT, number), np.full(places, number), used)


def filled(count: int = 10, **options: Any) -> StructureRepository:
    repository = StructureRepository(**({"capacity": 10} | options))
    repository.add([elite(float(k)) for k in range(count)])
    return repository


def test_elites_are_the_best_by_rank_each_skeleton_once() -> None:
    repository = StructureRepository(capacity=4)
    repository.add([elite(s) for s in (5.0, 3.0, 9.0)])
    repository.add([elite(4.0, 3), elite(1.0), elite(7.0), elite(0.5, 5)])  # 3 and 5 are there
    assert [e.score for e in repository.elites] == [1.0, 3.0, 5.0, 7.0]
    repository.add([elite(9.0)])  # was dropped, may come back, and is dropped again
    assert [e.score for e in repository.elites] == [1.0, 3.0, 5.0, 7.0]
    repository.add([elite(2.0, 9)])
    assert [e.score for e in repository.elites] == [1.0, 2.0, 3.0, 5.0]
    repository.clear()
    repository.add([elite(1.0)])
    assert len(repository) == 1


def test_the_order_of_arrival_does_not_matter() -> None:
    many = [elite(float(k % 7), k) for k in range(40)]
    one, other = StructureRepository(capacity=10), StructureRepository(capacity=10)
    one.add(many)
    for each in reversed(many):
        other.add([each])
    assert [e.tokens for e in one.elites] == [e.tokens for e in other.elites]


def test_the_bar() -> None:
    assert StructureRepository().bar(0.1) == math.inf
    assert filled().bar(0.0) == 0.0
    assert filled().bar(0.55) == 5.0
    assert filled(5).bar(0.5) == math.inf
    assert filled().bar(1.0) == math.inf


def test_parents_are_chosen_by_a_power_law_on_their_rank() -> None:
    repository = filled(places := 10, fresh=0.0)
    structures, anew = repository.parents(40_000, np.random.default_rng(0))
    assert structures.shape == anew.shape == (40_000, 12)
    counts = np.bincount(structures[:, 0], minlength=places)
    expected = np.arange(1.0, places + 1) ** -1.5
    np.testing.assert_allclose(counts / 40_000, expected / expected.sum(), atol=0.01)


def test_of_a_copy_something_that_matters_is_drawn_anew() -> None:
    structures, anew = filled(resampled=0.0, fresh=0.0).parents(500, np.random.default_rng(1))
    assert (anew.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(np.argmax(anew, axis=1), structures[:, 0] % 12)
    _, anew = filled(resampled=0.2, fresh=0.0).parents(4000, np.random.default_rng(1))
    assert anew.mean() == pytest.approx(1 / 12 + 0.2 * 11 / 12, abs=0.01)


def test_some_are_drawn_wholly_anew() -> None:
    _, anew = filled(resampled=0.0, fresh=0.25).parents(4000, np.random.default_rng(2))
    assert anew.all(axis=1).mean() == pytest.approx(0.25, abs=0.03)


def test_examples_are_elites_all_with_the_same_probability() -> None:
    structures, used = filled().examples(20_000, np.random.default_rng(3))
    np.testing.assert_allclose(np.bincount(structures[:, 0]) / 20_000, 0.1, atol=0.01)
    np.testing.assert_array_equal(np.argmax(used, axis=1), structures[:, 0] % 12)


def test_the_same_generator_gives_the_same_proposals() -> None:
    one, other = (filled().parents(50, np.random.default_rng(4)) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
