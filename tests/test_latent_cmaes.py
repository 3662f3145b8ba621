"""The search in a latent space, with a small map whose every answer is known, and with a real one."""

from __future__ import annotations

import dataclasses
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expressions.equivalence import recovered
from expressions.expression import Expression
from expressions.operators import CONSTANT
from expressions.parsing import parse
from expressions.skeleton import Skeleton, skeleton_of, structure_of
from foundation.errors import UserError
from searches import latent_cmaes
from searches.common.search_state import StateError, load_state
from searches.common.skeleton_fitting import SkeletonFitter
from searches.latent_cmaes import search
from searches.latent_space import continuation
from searches.latent_space.cma_strategy import CMAStrategy
from searches.latent_space.paper_strategy import PaperStrategy
from searches.latent_space.settings import LatentSearchSettings, SettingsError
from searches.latent_space.skeleton_scores import PENALTY, Elite, SkeletonScores, program_to_fit, shares_by_rank
from searches.latent_space.strategies import Outcome, Prior
from searches.latent_space.tables import PreparedTable, relevance
from searches.pareto_front import EXACT_NMSE
from searches.search_result import SearchResult
from tests.latent_maps import CodeMap, skeletons_of

ROOT = Path(__file__).resolve().parents[1]
TRUTH = "1.7*x0**2*sin(2.3*x1) + 0.4"
BOOK = skeletons_of(200, truth=TRUTH)
# No clock takes part, and no SymPy.
SHORT: dict[str, Any] = {
    "seconds": None, "polish": "none", "simplify_seconds": 0.0, "population": 16, "prior_share": 0.0,
    "rewritten_share": 0.6, "question_samples": 1, "patience": 4, "elites": 12,
    "polish_equations": 2, "search_rows": 60, "screen_rows": 30,
}  # fmt: skip


def table(truth: str = TRUTH, rows: int = 120, variables: int = 2, noise: float = 0.0) -> Any:
    rng = np.random.default_rng(5)
    inputs = rng.uniform(0.5, 3.0, (rows, variables))
    target = parse(truth)(inputs)
    return inputs, target + noise * target.std() * rng.normal(size=rows)


def settings(**options: Any) -> LatentSearchSettings:
    return LatentSearchSettings(**(SHORT | options))


def run(latent_map: Any = None, data: Any = None, **options: Any) -> SearchResult:
    own = {key: options.pop(key) for key in list(options) if hasattr(LatentSearchSettings(), key)}
    latent_map = CodeMap(BOOK) if latent_map is None else latent_map
    return search(*(data or table()), settings(**own), latent_map=latent_map, **({"seed": 3} | options))


def story(result: SearchResult) -> Any:
    """All of a result but the clock."""
    clock = ("seconds",)
    return (
        [(c.expression.infix(), c.complexity, c.train_nmse, c.validation_nmse) for c in result.front],
        [{key: value for key, value in entry.items() if key not in clock} for entry in result.history],
        result.best.expression.infix(),
        (result.counts, result.evaluations, result.stopped, result.notes),
    )


def decoded(latent_map: CodeMap) -> list[np.ndarray]:
    """The latents of every generation."""
    return [latents for kind, latents in latent_map.calls if kind == "decode"]


# --- what is found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cmaes", "prior"])
def test_the_truth_among_two_hundred_is_found_exactly(method: str) -> None:
    near = next(k for k, skeleton in enumerate(BOOK) if skeleton == skeleton_of(parse(TRUTH)))
    result = run(CodeMap(BOOK, centre=near), method=method, decodes=2000)
    assert result.stopped == "exact"
    assert result.counts["decodes"] < 2000
    assert result.best.error < EXACT_NMSE
    assert recovered(result.best.expression, parse(TRUTH))
    assert sorted(np.round(result.best.expression.constants, 6).tolist()) == [0.4, 1.7, 2.3]


def test_a_structure_is_completed_by_the_constants_that_it_needs() -> None:
    """What is decoded says neither factors nor signs: the fit finds them."""
    structure = parse("x0**2 + x0 + sin(x1)")
    decoded = Skeleton(tuple(structure.tokens.tolist()), (None,) * len(structure.constants))
    truth = "2.5*(x0**2 - 3*x0) + sin(1.31*x1)"
    scores = SkeletonScores(SkeletonFitter(*table(truth), linear_scaling=True), fitted_share=None)
    assert scores.errors([decoded])[0] < EXACT_NMSE
    result = run(CodeMap([decoded, *BOOK[:10]], centre=0), table(truth), decodes=200)
    assert result.stopped == "exact"
    assert recovered(result.best.expression, parse(truth))


def test_a_constant_in_a_sine_gets_several_starts() -> None:
    inputs, _ = table(rows=200)
    target = np.sin(7.9 * inputs[:, 0] + 0.3)
    skeleton = skeleton_of(parse("sin(0.7*x0 + 0.2)"))
    errors = []
    for starts in (1, 12):
        fitter = SkeletonFitter(inputs, target, linear_scaling=True, frequency_starts=starts)
        errors.append(float(SkeletonScores(fitter, fitted_share=None).errors([skeleton])[0]))
    assert errors[1] < 1e-20 < 1e-3 < errors[0]


@pytest.mark.parametrize("unit", [1e6, 1e-7])
def test_units_are_written_back(unit: float) -> None:
    """A column at a million is searched as one of ordinary size, and the equation is in its own units."""
    inputs, target = table("x0*exp(x1) + 2.5")
    book = [skeleton_of(parse("x0*exp(x1)")), *BOOK[:20]]
    scaled = np.column_stack([unit * inputs[:, 0], inputs[:, 1] * unit])
    power = parse(f"x0*exp(x1/{unit!r})")
    own = power(scaled) / unit + 2.5
    assert np.allclose(own, target)
    latent_map = CodeMap(book, centre=0)
    result = run(latent_map, (scaled, target * 1e9), decodes=200)
    # exp(x1 / 1e6) is exp(c x1) with c = 10**-6, the power of ten that the column was divided by
    assert result.stopped == "exact"
    assert result.best.error < EXACT_NMSE
    assert np.allclose(result.best.expression(scaled), target * 1e9)


def test_ordinary_columns_are_left_as_they_are() -> None:
    inputs, target = table()
    prepared = PreparedTable.of(inputs, target, 2)
    assert prepared.exponents == (0, 0)
    assert prepared.inputs.tobytes() == inputs.tobytes()
    assert prepared.restored(parse("x0*x1")) == parse("x0*x1")
    odd = PreparedTable.of(np.column_stack([0 * inputs[:, 0], 3e5 * inputs[:, 1]]), target, 2)
    assert odd.exponents == (0, 5)
    assert odd.restored(parse("x0 + sin(x1)")) == parse("x0 + sin(1e-05*x1)")
    assert odd.factors == {1e-5}
    extreme = PreparedTable.of(np.array([[1e300], [-1e300]]), np.array([1e-80, 2e-80]), 1)
    assert extreme.exponents == (300,)
    assert np.isfinite(extreme.inputs).all()
    assert np.allclose(extreme.target, [1.0, 2.0])


# --- more variables than the map knows --------------------------------------------------------------------------


def test_the_most_relevant_columns_are_shown_and_it_is_said() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.uniform(-2.0, 2.0, (300, 6))
    target = 3.0 * inputs[:, 4] ** 2 + inputs[:, 1]  # one that is not monotone, one that is
    result = run(
        CodeMap([skeleton_of(parse("x1**2 + 0.7*x0")), *BOOK[:20]], centre=0), (inputs, target), decodes=200
    )
    assert result.best.expression.variables == (1, 4)
    assert result.stopped == "exact"
    (note,) = result.notes
    assert note == (
        "the map knows 2 variables and the table has 6: it is shown x1, x4, which have most to do with the target"
    )
    named = search(
        inputs, target, settings(decodes=16), latent_map=CodeMap(BOOK[:20]), seed=1, names=list("abcdef")
    )
    assert "it is shown b, e," in named.notes[0]


def test_relevance_is_about_the_target_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=400)
    columns = np.column_stack(
        [np.exp(5 * x), x**2, np.ones(400), rng.normal(size=400), x + 3 * rng.normal(size=400)]
    )
    found = relevance(columns, x)
    assert found[0] == pytest.approx(1.0)  # whatever is monotone
    assert found[2] == 0.0
    assert found[3] < 0.05 < found[4] < 0.3
    assert relevance(x[:, None], x**2)[0] > 0.7
    assert relevance(np.ones((3, 2)), np.array([1.0, 2.0, 3.0])).tolist() == [0.0, 0.0]
    assert np.isfinite(relevance(rng.normal(size=(2, 3)), np.array([1.0, 2.0]))).all()


# --- tables that cannot be searched -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, 0 * y + 2.5), "the target is 2.5 on every row"),
        (lambda x, y: (x[:1], y[:1]), "on every row"),
        (lambda x, y: (x, np.where(np.arange(len(y)) == 3, np.nan, y)), "not finite"),
        (lambda x, y: (np.where(x > 2.9, np.inf, x), y), "not finite"),
        (lambda x, y: (x[:0], y[:0]), "are not"),
        (lambda x, y: (x, 1e200 * y), "scale it"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(change: Callable, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        run(data=change(*table()), decodes=16)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [2, 3, 7])
@pytest.mark.parametrize("method", ["cmaes", "prior", "greedy", "paper"])
def test_a_handful_of_rows_and_a_constant_column_are_searched(rows: int, method: str) -> None:
    inputs, target = table(rows=rows)
    inputs[:, 1] = 4.0
    result = run(data=(inputs, target), method=method, decodes=64)
    assert np.isfinite(result.best.error)


def test_skeletons_that_are_nowhere_finite_leave_the_mean() -> None:
    inputs, target = table()
    book = [skeleton_of(parse(text)) for text in ("sqrt(x0)", "sqrt(x1)*x0")]
    result = run(CodeMap(book), (-inputs, target), decodes=64)
    assert len(result.front) == len(result.best.expression) == 1
    assert result.best.expression.constants[0] == pytest.approx(target.mean(), abs=0.1 * target.std())  # rounded
    assert result.history[-1]["best_nmse"] == 1.0
    assert result.stopped == "decodes"


# --- the same again ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cmaes", "prior", "greedy", "paper"])
def test_the_seed_decides_and_global_generators_are_left_alone(method: str) -> None:
    import torch

    data = table(noise=0.1)
    np.random.seed(7)  # noqa: NPY002
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate())  # noqa: NPY002
    first = run(data=data, method=method, decodes=100)
    after = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), random.getstate())  # noqa: NPY002
    assert before == after
    np.random.seed(8)  # noqa: NPY002
    assert story(run(data=data, method=method, decodes=100)) == story(first)
    if method != "greedy":
        other = CodeMap(BOOK)
        run(other, data=data, method=method, decodes=100, seed=4)
        mine = CodeMap(BOOK)
        run(mine, data=data, method=method, decodes=100)
        assert not np.array_equal(decoded(mine)[0], decoded(other)[0])


def test_nothing_that_cma_prints_or_draws_gets_out(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.chdir(tmp_path)
    run(data=table(noise=0.1), decodes=400, inject=8, elite_share=0.9)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert list(tmp_path.iterdir()) == []


# --- budgets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cmaes", "prior", "paper"])
@pytest.mark.parametrize("decodes", [1, 16, 100, 131])
def test_equal_budgets_are_equal(method: str, decodes: int) -> None:
    latent_map = CodeMap(BOOK)
    result = run(latent_map, table(noise=0.1), method=method, decodes=decodes)
    assert (
        sum(map(len, decoded(latent_map))) == decodes == result.counts["decodes"] == result.history[-1]["decodes"]
    )
    assert result.stopped == "decodes"


def test_the_clock_ends_a_search() -> None:
    begun = time.perf_counter()
    result = run(data=table(noise=0.1), seconds=1.0, decodes=None)
    assert result.stopped == "seconds"
    assert 0.6 < result.history[-1]["seconds"] < result.seconds < time.perf_counter() - begun + 1e-3 < 5.0


def test_greedy_decodes_the_mean_once() -> None:
    latent_map = CodeMap(BOOK, centre=3)
    result = run(latent_map, method="greedy")
    assert (result.stopped, result.counts["decodes"], result.counts["skeletons"]) == ("greedy", 1, 1)
    assert [kind for kind, _ in latent_map.calls] == ["prior", "decode"]
    structures = [structure_of(skeleton_of(candidate.expression)) for candidate in result.front]
    assert structure_of(BOOK[3]) in structures


def test_a_skeleton_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Skeleton] = []
    plain = SkeletonFitter.fit

    def counted(self: SkeletonFitter, skeletons: Any, bar: float) -> Any:
        fitted.extend(skeletons)
        return plain(self, skeletons, bar)

    monkeypatch.setattr(SkeletonFitter, "fit", counted)
    result = run(data=table(noise=0.1), decodes=300)
    assert len(fitted) == len(set(fitted)) == result.counts["skeletons"]
    fitted.clear()
    result = run(data=table(noise=0.1), decodes=600, rewritten_share=0.0, recombine_every=0)
    assert len(fitted) == len(set(fitted)) == result.counts["skeletons"] < 200
    assert set(fitted) <= {program_to_fit(skeleton) for skeleton in BOOK}


def test_spellings_of_a_skeleton_are_one() -> None:
    same = ["x0*x1", "0.7*x1*x0 + 0.31", "x0*0.3*(x1*0.9) - 0.2"]
    skeletons = [Skeleton(tuple(e.tokens.tolist()), (None,) * len(e.constants)) for e in map(parse, same)]
    scores = SkeletonScores(SkeletonFitter(*table(), linear_scaling=True))
    errors = scores.errors(skeletons)
    assert len(scores) == 1
    assert len(set(errors.tolist())) == 1
    assert scores.elites[0].decoded == skeletons[0]
    apart = [Skeleton(tuple(e.tokens.tolist()), (None,)) for e in map(parse, ["sin(0.7*x0)", "sin(x0 + 0.7)"])]
    assert program_to_fit(apart[0]) != program_to_fit(apart[1])
    twice = parse("sin(0.5*x0)*sin(0.5*x1)")  # two constants of one value are still two
    free = program_to_fit(Skeleton(tuple(twice.tokens.tolist()), (None, None)))
    assert free.count(CONSTANT) == 2
    factors = program_to_fit(Skeleton(tuple(parse("(x1 + x2)*(x1 + x2)").tokens.tolist())))  # as are two factors
    assert factors.count(CONSTANT) == 2


def test_scores_are_finite_and_say_what_they_should() -> None:
    inputs, target = table(variables=3)
    inputs[:, 2] *= -1.0
    fitter = SkeletonFitter(inputs, target, linear_scaling=True, parsimony=0.25, longest=15)
    scores = SkeletonScores(fitter)
    exact, nowhere = skeleton_of(parse(TRUTH)), skeleton_of(parse("sqrt(x2)"))
    long = skeleton_of(parse("sin(x0) + sin(x1) + exp(x0) + exp(x1)"))
    constant = skeleton_of(parse("0.7"))
    found = scores.scores([exact, nowhere, long, constant])
    assert found[0] == pytest.approx(np.log(max(1e-32, scores.elites[0].nmse)) + 0.25 * len(program_to_fit(exact)))
    assert found[0] < -60
    assert found[1] == found[2] == PENALTY
    assert found[3] == pytest.approx(0.25)


def test_unpromising_skeletons_are_only_screened() -> None:
    fitter = SkeletonFitter(*table(), linear_scaling=True, search_rows=100, screen_rows=20)
    scores = SkeletonScores(fitter, capacity=4, fitted_share=0.5)
    scores.errors(BOOK[:60])
    scores.errors([skeleton_of(parse(TRUTH))])
    before = fitter.task.evaluations
    bar = scores.elites[1].score
    errors = scores.errors(BOOK[60:99])
    worse = [e for e, s in zip(errors, BOOK[60:99], strict=True) if np.log(e) + fitter.parsimony * len(s) >= bar]
    assert len(worse) > 30
    assert fitter.task.evaluations - before < 100
    assert len(scores.elites) == 4


# --- elites beside CMA-ES ---------------------------------------------------------------------------------------


def strategy(**options: Any) -> tuple[CMAStrategy, list[Elite]]:
    """A strategy with two elites, whose posteriors lie at 5 and at -5."""
    elites = [
        Elite(float(k), 0.1, skeleton, skeleton, skeleton.expression()) for k, skeleton in enumerate(BOOK[:2])
    ]
    prior = Prior(np.zeros((3, 6)) + np.arange(3)[:, None], np.ones((3, 6)) * np.linspace(1.0, 0.5, 6))

    def posterior(elite: Elite) -> np.ndarray:
        return np.full(6, 5.0 if elite is elites[0] else -5.0)

    options = {"rewritten_share": 0.0, **options}
    return CMAStrategy(prior, settings(decodes=1, **options), 1, lambda: elites, posterior), elites


def outcome(scores: np.ndarray) -> Outcome:
    return Outcome(np.exp(scores), scores, np.ones(len(scores)), np.zeros(len(scores), dtype=bool))


def test_elites_are_drawn_by_a_power_law_on_their_rank() -> None:
    weights = np.array([1.0, 2.0, 3.0, 4.0]) ** -1.5
    np.testing.assert_allclose(shares_by_rank(4, 1.5), weights / weights.sum(), rtol=1e-12)


def test_injection_changes_what_is_sampled() -> None:
    plain, _ = strategy(inject=0, elite_share=0.0)
    latents = plain.ask(0)
    assert np.abs(latents).max() < 5.0
    injected, _ = strategy(inject=2, elite_share=0.0)
    assert np.array_equal(injected.ask(0), latents), "posterior means have a score: they are not decoded again"
    assert sorted(injected._others[:, 0].tolist()) == [-5.0, 5.0]
    for each in (plain, injected):
        each.tell(outcome(10.0 + np.arange(16.0)))
    assert not np.array_equal(injected.ask(1), plain.ask(1)), "but CMA-ES has learned from them"
    shared, _ = strategy(inject=0, elite_share=0.5, elite_step=0.1)
    found = shared.ask(0)
    assert np.array_equal(found[:8], latents[:8])
    assert (np.abs(np.abs(found[8:]) - 5.0) < 0.6).all()
    assert (found[8:, 0] > 0).sum() > (found[8:, 0] < 0).sum(), "the better elite is drawn more often"
    assert not np.array_equal(shared.ask(1)[8:], found[8:])


def test_cma_is_drawn_to_where_elites_are() -> None:
    drawn, _ = strategy(inject=2, elite_share=0.5, patience=100)
    alone, _ = strategy(inject=0, elite_share=0.0, patience=100)
    for number in range(12):
        for each in (drawn, alone):
            latents = each.ask(number)
            each.tell(outcome(np.abs(latents - 5.0).sum(axis=1)))
    assert drawn.ask(12)[:6].mean() > 3.0
    assert 0.01 < drawn.sigma < 10.0
    assert np.abs(alone.ask(12)[:6].mean() - 5.0) < 5.0, "CMA-ES gets there by itself, only later"
    assert len(drawn._others) == 10
    assert len(alone._others) == 0


def test_a_share_is_what_sampling_alone_would_try() -> None:
    """Fresh samples of the prior come last, and CMA-ES is not told about them."""
    without, _ = strategy(inject=0, elite_share=0.0, population=8, patience=100)
    sharing, _ = strategy(inject=0, elite_share=0.0, population=16, prior_share=0.5, patience=100)
    for number in range(3):
        alone, shared = without.ask(number), sharing.ask(number)
        assert (len(alone), len(shared)) == (8, 16)
        assert np.array_equal(shared[:8], alone)
        scores = np.arange(8.0)
        without.tell(outcome(scores))
        sharing.tell(outcome(np.concatenate([scores, -np.arange(8.0)])))
    drawn = np.concatenate([sharing.ask(number)[8:] for number in range(500)])
    prior = sharing.prior
    views = np.arange(len(drawn)) % 8 % 2 == 0  # the clean one, and the others in turn
    assert np.allclose(drawn[views].mean(axis=0), prior.means[0], atol=0.1)
    assert np.allclose(drawn[views].std(axis=0), prior.deviations[0], rtol=0.1)
    assert np.allclose(drawn[~views].mean(axis=0), prior.means[1:].mean(axis=0), atol=0.1)
    assert settings(decodes=1, method="prior", prior_share=0.5).plain == 0
    crowded = settings(decodes=1, prior_share=0.9, rewritten_share=0.9)
    assert (crowded.rewritten, crowded.plain, crowded.guided) == (14, 0, 2), "CMA-ES keeps two"


@pytest.mark.parametrize("population", [4, 5, 8, 11, 16])
@pytest.mark.parametrize("elite_share", [0.75, 1.0])
def test_a_small_generation_leaves_some_to_cma(population: int, elite_share: float) -> None:
    """It cannot be asked for one sample at a time."""
    shares = {"prior_share": 0.25, "rewritten_share": 0.5, "elite_share": elite_share}
    result = run(data=table(noise=0.3), decodes=10 * population, population=population, **shares)
    assert len(result.history) == 10
    assert result.history[-1]["sigma"] != result.history[0]["sigma"]


def test_only_the_widest_dimensions_move() -> None:
    narrow, _ = strategy(inject=0, elite_share=0.0, dimensions=2)
    latents = narrow.ask(0)
    assert (latents.std(axis=0)[:2] > 0.1).all()
    assert (latents[:, 2:] == 0.0).all()


def test_restarts_begin_at_the_next_view_with_a_fresh_step() -> None:
    each, _ = strategy(inject=0, elite_share=0.0, patience=3)
    views, sigmas = [], []
    for number in range(12):
        views.append(each.view)
        sigmas.append(each.sigma)
        each.ask(number)
        each.tell(outcome(np.zeros(16) + (number % 4 == 0)))
    assert views == [0] * 5 + [1] * 4 + [2] * 3
    assert each.restarts >= 2
    assert sigmas[0] == sigmas[views.index(1)] == sigmas[views.index(2)] == 1.0


def test_progress_puts_a_restart_off() -> None:
    each, _ = strategy(inject=0, elite_share=0.0, patience=3)
    for number in range(12):
        each.ask(number)
        each.tell(outcome(np.zeros(16) - number))
    assert each.restarts == 0


def test_prior_samples_come_from_the_priors() -> None:
    latent_map = CodeMap(BOOK, latents=4, centre=5)
    run(latent_map, table(noise=0.1), method="prior", decodes=4096, population=512)
    latents = np.concatenate(decoded(latent_map))
    deviations = latents - latent_map.centre
    assert np.allclose(deviations.mean(axis=0), 0.0, atol=0.06)
    assert np.allclose(deviations.std(axis=0), np.linspace(1.0, 0.6, 4), rtol=0.05)
    assert len(np.unique(latents[:, 0])) == 4096


def test_in_the_first_generation_there_are_no_elites() -> None:
    data = table(noise=0.1)
    without, with_elites = CodeMap(BOOK), CodeMap(BOOK)
    run(without, data, decodes=64, inject=0, elite_share=0.0, rewritten_share=0.0, patience=50)
    run(with_elites, data, decodes=64, rewritten_share=0.0, patience=50)
    assert np.array_equal(decoded(with_elites)[0], decoded(without)[0])
    assert not np.array_equal(decoded(with_elites)[1], decoded(without)[1])
    asked = [words for kind, words in with_elites.calls if kind == "posterior"]
    assert asked
    assert all(len(words) == 1 for words in asked)
    assert len({words[0] for words in asked}) == len(asked), "once each"


def test_views_are_clean_first_and_then_noisy_or_smaller() -> None:
    inputs, target = table(rows=1000)
    prepared = PreparedTable.of(inputs, target, 2)
    views = prepared.views(8, seed=1)
    first_inputs, first = views[0]
    assert len(first) == 200
    assert (first.min(), first.max()) == (target.min(), target.max())
    place = {row.tobytes(): k for k, row in enumerate(inputs)}
    assert all(target[place[row.tobytes()]] == value for row, value in zip(first_inputs, first, strict=True))
    for view_inputs, view in views[1:]:
        assert 100 <= len(view) <= 200
        rows = [place[row.tobytes()] for row in view_inputs]
        assert len(set(rows)) == len(rows)
        assert np.abs(view - target[rows]).max() < 0.2 * target.std()
    assert any((view != target[[place[r.tobytes()] for r in x]]).any() for x, view in views[1:])
    again = prepared.views(8, seed=1)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(views, again, strict=True))
    few = PreparedTable.of(inputs[:5], target[:5], 2).views(3, seed=1)
    assert [len(view) for _, view in few] == [5, 5, 5]


# --- GenSR's own strategy ---------------------------------------------------------------------------------------


class _Slow:
    """The strategy of the public code, written down as it is read, a number at a time."""

    def __init__(
        self, population: np.ndarray, deviations: np.ndarray, parents: int, step: float, moving: int
    ) -> None:
        self.n = population.shape[1]
        self.parents, self.sigma, self.moving = parents, step, moving
        raw = [np.log(parents + 0.5) - np.log(rank) for rank in range(1, parents + 1)]
        self.w = [value / sum(raw) for value in raw]
        self.mu_eff = 1.0 / sum(value**2 for value in self.w)
        self.chi = self.n**0.5 * (1 - 1 / (4 * self.n) + 1 / (21 * self.n**2))
        self.ps, self.pc, self.cov = [0.0] * self.n, [0.0] * self.n, [1.0] * self.n
        self.mask = [1.0] * self.n
        self.deviations = deviations

    def first(self, population: np.ndarray, fitness: np.ndarray) -> np.ndarray:
        best = sorted(range(len(fitness)), key=lambda k: -fitness[k])[: self.parents]
        logvar = [
            sum(self.w[i] * np.log(self.deviations[k][j] ** 2) for i, k in enumerate(best)) for j in range(self.n)
        ]
        cov = [float(np.exp(value)) for value in logvar]
        low, high = min(cov), max(cov)
        cov = [(value - low) / (high - low) for value in cov]
        kept = sorted(range(self.n), key=lambda j: -cov[j])[: self.moving]
        self.mask = [1.0 if j in kept else 0.0 for j in range(self.n)]
        self.cov = [cov[j] * self.mask[j] for j in range(self.n)]
        return self.tell(population, fitness)

    def tell(self, population: np.ndarray, fitness: np.ndarray) -> np.ndarray:
        best = sorted(range(len(fitness)), key=lambda k: -fitness[k])[: self.parents]
        n, mu = self.n, self.mu_eff
        cs = (mu + 2) / (n + mu + 3)
        ds = 1 + 2 * max(0, (mu / n) ** 0.5 - 1) + cs
        cc = (4 + mu / n) / (n + 4 + 2 * mu / n)
        c1 = 2 / ((n + 1.3) ** 2 + mu)
        new = [sum(self.w[i] * population[k][j] for i, k in enumerate(best)) for j in range(n)]
        past = [sum(member[j] for member in population) / len(population) for j in range(n)]
        y = [(new[j] - past[j]) / self.sigma for j in range(n)]
        self.ps = [(1 - cs) * self.ps[j] + (cs * (2 - cs) * mu) ** 0.5 * y[j] for j in range(n)]
        self.pc = [(1 - cc) * self.pc[j] + (cc * (2 - cc) * mu) ** 0.5 * y[j] for j in range(n)]
        self.cov = [((1 - c1) * self.cov[j] + c1 * self.pc[j] ** 2) * self.mask[j] for j in range(n)]
        norm = sum(value**2 for value in self.ps) ** 0.5
        self.sigma *= float(np.exp(cs / ds * (norm / self.chi - 1)))
        return np.array(new)


def test_the_papers_strategy_is_the_public_codes() -> None:
    prepared = PreparedTable.of(*table(rows=100), 2)
    rng = np.random.default_rng(4)

    def encode(views: Any) -> Prior:
        assert [len(view) for _, view in views] == [100] + [50] * 10
        noise = [np.std(y - target_of(x)) for x, y in views]
        assert noise[0] == 0.0
        assert noise[10] > noise[1] > 0.0
        return Prior(rng.normal(size=(len(views), 7)), rng.uniform(0.3, 1.5, (len(views), 7)))

    def target_of(inputs: np.ndarray) -> np.ndarray:
        scale = 10.0 ** round(np.log10(np.median(table(rows=100)[1] / prepared.target)))
        return parse(TRUTH)(inputs) / scale

    own = PaperStrategy(prepared, encode, settings(population=20, step=1.3, dimensions=4, decodes=1), seed=3)
    population = own.ask(0)
    assert population.shape == (21, 7)
    assert np.array_equal(population[0], own._views.means[0])
    assert np.array_equal(population[:11], own._views.means)
    deviations = np.concatenate([own._views.deviations, np.repeat(own._views.deviations[:1], 10, axis=0)])
    slow = _Slow(population, deviations, parents=4, step=1.3, moving=4)
    for number in range(5):
        errors = np.random.default_rng(number).uniform(0.05, 1.3, 21)
        errors[3] = np.inf
        errors[8] = 0.02
        lengths = np.arange(21) + 3
        known = np.arange(21) % 5 == 1
        fitness = []
        for error, length, seen in zip(errors, lengths, known, strict=True):
            r2 = max(0.0, 1.0 - error)
            fitness.append(0.0 if seen else r2 if r2 < 0.5 else r2 - length / 400)
        mean = (slow.first if number == 0 else slow.tell)(population, np.array(fitness))
        own.tell(Outcome(errors, np.zeros(21), lengths, known))
        assert np.allclose(own.mean, mean, rtol=1e-12, atol=1e-14)
        assert own.sigma == pytest.approx(slow.sigma, rel=1e-12)
        assert np.allclose(own.variance, slow.cov, rtol=1e-12)
        assert (own.variance > 0).sum() <= 4
        population = own.ask(number + 1)
        assert np.array_equal(population[0], own.mean)
        steps = (population[1:] - own.mean)[:, own.variance > 0] / own.sigma
        assert 0.7 < (steps / np.sqrt(own.variance[own.variance > 0])).std() < 1.3
        assert own.ended is None
    own.tell(Outcome(np.full(21, 0.0099), np.zeros(21), lengths, known))
    assert own.ended == "r2"


def test_the_papers_strategy_forgets_what_it_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Outcome] = []
    plain = PaperStrategy.tell

    def noted(self: PaperStrategy, outcome: Outcome) -> None:
        told.append(outcome)
        plain(self, outcome)

    monkeypatch.setattr(PaperStrategy, "tell", noted)
    latent_map = CodeMap(BOOK)
    result = run(latent_map, table(noise=0.3), method="paper", decodes=17 * 6)
    assert result.stopped == "decodes"
    assert [len(each.known) for each in told] == [17] * 6
    assert not told[0].known.any()
    assert told[-1].known.any()
    assert all(np.isfinite(each.scores).all() for each in told)


def test_the_paper_stops_where_exactness_has_no_reward() -> None:
    result = run(data=table(noise=0.05), method="paper", decodes=4000)
    good = [entry["best_nmse"] < 0.01 for entry in result.history]
    assert (result.stopped == "r2") == any(good)
    near = next(k for k, skeleton in enumerate(BOOK) if skeleton == skeleton_of(parse(TRUTH)))
    result = run(CodeMap(BOOK, centre=near), table(noise=0.05), method="paper", decodes=4000)
    assert result.stopped == "r2"
    assert result.best.error > 1e-4


# --- going on ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> Any:
    """The search that nobody disturbed; it begins anew a few times."""
    result = run(data=table(noise=0.1), decodes=320)
    assert result.history[-1]["restarts"] >= 2
    return story(result)


def test_a_state_on_disk_changes_nothing(whole: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    assert story(run(data=table(noise=0.1), decodes=320, state_path=path)) == whole
    again = CodeMap(BOOK)
    assert story(run(again, table(noise=0.1), decodes=320, state_path=path)) == whole
    assert not decoded(again), "a finished search only ends once more"


SHARED = {"prior_share": 0.25, "rewritten_share": 0.5, "question_samples": 4}


@pytest.mark.parametrize(
    ("method", "options"),
    [("cmaes", {}), ("cmaes", SHARED), ("prior", {}), ("paper", {})],
    ids=["cmaes", "shared", "prior", "paper"],
)
@pytest.mark.parametrize("stops", [(1, 4, 13)])
def test_every_generation_can_be_gone_on_from(
    method: str, options: dict[str, Any], stops: tuple[int, ...], tmp_path: Path
) -> None:
    """Stopped after whole generations, that is: a generation cut short by its budget is the last."""
    options = {"method": method, "data": table(noise=0.3), **options}
    total = 15 * 17
    undisturbed = run(decodes=total, **options)
    for generations in stops:
        decodes = undisturbed.history[generations - 1]["decodes"]
        run(decodes=decodes, state_path=tmp_path / "state", **options)
    assert story(run(decodes=total, state_path=tmp_path / "state", **options)) == story(undisturbed)


def test_many_scores_survive_the_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searches.latent_space.skeleton_scores._CHUNK", 7)
    data = table(noise=0.1)
    undisturbed = run(data=data, decodes=240)
    run(data=data, decodes=160, state_path=tmp_path / "state")
    packed = load_state(tmp_path / "state")["scores"]["packed"]
    assert len(packed) > 5
    assert story(run(data=data, decodes=240, state_path=tmp_path / "state")) == story(undisturbed)


def test_a_resumed_search_fits_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Skeleton] = []
    plain = SkeletonFitter.fit

    def counted(self: SkeletonFitter, skeletons: Any, bar: float) -> Any:
        fitted.extend(skeletons)
        return plain(self, skeletons, bar)

    monkeypatch.setattr(SkeletonFitter, "fit", counted)
    for decodes in (80, 160, 320):
        result = run(data=table(noise=0.1), decodes=decodes, state_path=tmp_path / "state")
    assert len(fitted) == len(set(fitted)) == result.counts["skeletons"]


def test_what_was_exact_is_exact_after_a_resume(tmp_path: Path) -> None:
    near = next(k for k, skeleton in enumerate(BOOK) if skeleton == skeleton_of(parse(TRUTH)))
    first = run(CodeMap(BOOK, centre=near), decodes=2000, state_path=tmp_path / "state")
    assert first.stopped == "exact"
    assert story(run(CodeMap(BOOK, centre=near), decodes=2000, state_path=tmp_path / "state")) == story(first)


SCRIPT = """
import sys
from pathlib import Path
from tests.test_latent_cmaes import run, table
if __name__ == "__main__":
    tell = lambda entry, _: print(int(entry["generation"]), flush=True)
    run(data=table(noise=0.1), decodes=320, state_path=Path(sys.argv[1]), on_generation=tell)
"""


def start(folder: Path, script: str = SCRIPT) -> subprocess.Popen[str]:
    path = folder / "script.py"
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(path), str(folder / "state")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_killed_in_mid_generation_and_resumed(whole: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    reached = []
    for _ in range(3):
        process = start(tmp_path)
        assert process.stdout is not None
        reached += [int(process.stdout.readline()) for _ in range(3)]
        time.sleep(0.02 * rng.random())
        process.kill()
        process.communicate()
    assert len(set(reached)) == len(reached), "each attempt goes on from the one before"
    assert max(reached) < 19
    assert story(run(data=table(noise=0.1), decodes=320, state_path=tmp_path / "state")) == whole


def test_ctrl_c_returns_the_best_so_far(tmp_path: Path) -> None:
    script = (
        "from tests.test_latent_cmaes import run, table\n"
        "if __name__ == '__main__':\n"
        "    result = run(data=table(noise=0.1), seconds=600.0, polish='gp',\n"
        "                 on_generation=lambda entry, _: print('generation', flush=True))\n"
        "    print('ended', result.stopped, len(result.front), result.best.expression.infix())\n"
    )
    process = start(tmp_path, script)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "generation\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("ended interrupted")
    assert err == ""


def test_should_stop_ends_a_search_that_has_something_to_show() -> None:
    result = run(data=table(noise=0.1), decodes=1000, should_stop=lambda: True, polish="gp", polish_generations=3)
    assert (result.stopped, result.counts["decodes"], len(result.history)) == ("interrupted", 16, 1)
    assert len(result.front)


@pytest.mark.parametrize(
    "other",
    [{"population": 17}, {"seed": 4}, {"map_identity": "another map"}, {"parsimony": 0.3}, {"method": "prior"}],
)
def test_a_state_of_another_search_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "state"
    run(decodes=32, state_path=path, data=table(noise=0.1))
    before = path.read_bytes()
    with pytest.raises(StateError, match="other data, settings, seed or map"):
        run(decodes=64, state_path=path, data=table(noise=0.1), **other)
    with pytest.raises(StateError, match="other data"):
        run(decodes=64, state_path=path, data=table(noise=0.2))
    assert path.read_bytes() == before
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(StateError, match="damaged"):
        run(decodes=64, state_path=path, data=table(noise=0.1))


def test_budgets_may_be_raised_and_the_end_changed(tmp_path: Path) -> None:
    run(decodes=32, state_path=tmp_path / "state", data=table(noise=0.1))
    more = {
        "decodes": 64,
        "polish": "gp",
        "polish_generations": 1,
        "stop_when_exact": False,
        "finish_iterations": 3,
    }
    assert run(state_path=tmp_path / "state", data=table(noise=0.1), **more).counts["decodes"] == 64


def test_a_disk_that_fills_up_costs_nothing_that_was_found(whole: Any, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(entry: dict[str, float], best: Expression) -> None:
        if entry["generation"] == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        result = run(data=table(noise=0.1), decodes=320, state_path=tmp_path / "state", on_generation=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert result.stopped == "disk"
    assert len(result.front)
    assert load_state(tmp_path / "state")["generation"] == 4
    assert story(run(data=table(noise=0.1), decodes=320, state_path=tmp_path / "state")) == whole


# --- genetic programming goes on --------------------------------------------------------------------------------

POLISH: dict[str, Any] = {"polish": "gp", "polish_generations": 3}
QUOTIENT = "1/(x0*x1 + 2*sqrt(x1))"  # nothing that the book knows: it is for regression to find


def test_regression_finds_what_the_map_does_not(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert run(data=table(QUOTIENT), decodes=64).best.error > 1e-6
    result = run(data=table(QUOTIENT), decodes=64, linked_sums=20, state_path=path)
    assert (result.stopped, len(result.history)) == ("exact", 1)
    assert recovered(result.best.expression, parse(QUOTIENT))
    assert story(run(data=table(QUOTIENT), decodes=64, linked_sums=20, state_path=path)) == story(result)


def test_parts_of_elites_are_put_together() -> None:
    """No code word is the product of the two, and nothing else puts words together here."""
    data = table("x0*sin(2.3*x0*x1) + 0.7*x1*x1")
    words = [skeleton_of(parse(text)) for text in ("sin(0.9*x0*x1)", "x1*x1", "x0*x1", "exp(x0)", "x0 - x1")]
    errors = {}
    for every in (0, 2):
        result = run(CodeMap(words), data, decodes=64, rewritten_share=0.0, recombine_every=every)
        errors[every] = result.best.error
    assert errors[2] < 1e-12 < 1e-4 < errors[0]
    assert result.stopped == "exact"


def test_sums_of_regression_are_elites_and_seeds_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    plain = continuation.evolve
    monkeypatch.setattr(continuation, "evolve", lambda *a, **k: calls.append((a, k)) or plain(*a, **k))
    data = table("x0**2*sin(2.3*x1) + 0.2*x0", noise=0.05)
    options = {"data": data, "linked_sums": 20, "rewritten_share": 0.5}
    undisturbed = run(decodes=160, **options, **POLISH)
    assert len(undisturbed.history) > 3
    run(decodes=64, **options, state_path=tmp_path / "state")
    monkeypatch.setattr(latent_cmaes, "linked_sums", lambda *a: pytest.fail("looked for again"))
    assert story(run(decodes=160, **options, state_path=tmp_path / "state", **POLISH)) == story(undisturbed)
    (first, second) = calls
    assert first[1]["seeds"] == second[1]["seeds"]
    assert first[0][2].linked_sums == 0, "they are among the seeds"
    alone = run(decodes=16, data=data)
    assert undisturbed.history[0]["best_nmse"] < alone.history[0]["best_nmse"]
    assert undisturbed.history[0]["decodes"] == alone.history[0]["decodes"]


def test_genetic_programming_goes_on_from_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    plain = continuation.evolve

    def noted(*arguments: Any, **options: Any) -> Any:
        given.update(options)
        return plain(*arguments, **options)

    monkeypatch.setattr(continuation, "evolve", noted)
    data = table("x0**2*sin(2.3*x1) + 0.2*x0", noise=0.02)
    alone = run(data=data, decodes=160)
    both = run(data=data, decodes=160, **POLISH)
    assert given["seeds"]
    assert len(given["seeds"]) <= 40
    assert both.stopped in ("generations", "exact")
    assert both.best.error <= alone.best.error * 1.0001
    assert both.history[: len(alone.history)] != []
    numbers = [entry["generation"] for entry in both.history]
    assert numbers == list(range(len(numbers)))
    assert {tuple(entry) for entry in both.history} == {tuple(alone.history[0])}
    seconds = [entry["seconds"] for entry in both.history]
    assert seconds == sorted(seconds)
    assert both.evaluations > alone.evaluations
    leader = min(entry["best_nmse"] for entry in alone.history)
    assert both.history[len(alone.history)]["best_nmse"] < 1.1 * leader, "its first population holds the seeds"


def test_what_is_exact_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation, "evolve", lambda *a, **k: pytest.fail("continued"))
    near = next(k for k, skeleton in enumerate(BOOK) if skeleton == skeleton_of(parse(TRUTH)))
    assert run(CodeMap(BOOK, centre=near), decodes=2000, **POLISH).stopped == "exact"


def test_genetic_programming_alone(tmp_path: Path) -> None:
    inputs, target = table("x0*x1 + x0", variables=4)
    result = search(
        inputs * 1e6, target, settings(method="none", polish="gp", polish_generations=4), latent_map=None, seed=1,
        state_path=tmp_path / "state",
    )  # fmt: skip
    assert result.stopped == "exact"
    assert result.best.error < EXACT_NMSE
    assert result.notes == ()
    assert result.counts["decodes"] == result.counts["skeletons"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["state.polish"]
    assert np.allclose(result.best.expression(inputs * 1e6), target)


def test_genetic_programming_sees_all_columns_in_ordinary_units_and_goes_on_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    inputs = rng.uniform(0.5, 2.0, (150, 4)) * np.array([1.0, 1e5, 1.0, 1e-6])
    target = inputs[:, 1] * inputs[:, 2] + 0.05 * inputs[:, 3] / 1e-6 + 0.01 * rng.normal(size=150)
    held = (inputs[:30] * 1.01, target[:30])
    options: dict[str, Any] = {"validation": held, "decodes": 32, **POLISH}
    undisturbed = run(data=(inputs, target), **options)
    assert len(undisturbed.notes) == 1
    assert np.isfinite([c.validation_nmse for c in undisturbed.front]).all()
    assert max(undisturbed.best.expression.variables) <= 3
    path = tmp_path / "state"
    run(data=(inputs, target), state_path=path, **(options | {"polish_generations": 1}))
    assert story(run(data=(inputs, target), state_path=path, **options)) == story(undisturbed)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["state", "state.polish"]


class _Refuses(CodeMap):
    def prior(self, tables: Any) -> Any:
        raise UserError("it was trained on other numbers")


class _Diverged(CodeMap):
    def prior(self, tables: Any) -> Any:
        means, deviations = super().prior(tables)
        return means * np.nan, deviations


@pytest.mark.parametrize("kind", [_Refuses, _Diverged])
def test_a_map_that_cannot_take_the_table_leaves_it_to_genetic_programming(kind: type[CodeMap]) -> None:
    result = run(kind(BOOK), table("x0*x1 + x0"), decodes=100, **POLISH)
    assert "the map cannot be searched on this table" in result.notes[0]
    assert result.best.error < 0.1
    alone = run(kind(BOOK), table("x0*x1 + x0"), decodes=100)
    assert alone.stopped == "map"
    assert len(alone.best.expression) == 1


def test_the_time_is_divided() -> None:
    begun = time.perf_counter()
    result = run(data=table("x0**2*sin(2.3*x1) + 0.2*x0", noise=0.05), seconds=3.0, polish="gp", polish_share=0.5)
    latent = [entry for entry in result.history if entry["sigma"] > 0]
    further = [entry for entry in result.history if entry["sigma"] == 0]
    assert 0.8 < latent[-1]["seconds"] < 2.2
    assert further[-1]["seconds"] > 1.8
    assert result.stopped == "seconds"
    assert time.perf_counter() - begun < 20.0


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "cmaess"}, "did you mean cmaes"),
        ({"polish": "ga"}, "polish=ga is not allowed"),
        ({"population": 3}, "at least 4"),
        ({"population": 8.0}, "whole number"),
        ({"step": 0}, "above 0"),
        ({"temperature": -1}, "at least 0"),
        ({"elite_share": 1.5}, "from 0 to 1"),
        ({"prior_share": -0.1}, "from 0 to 1"),
        ({"question_samples": 0}, "question_samples"),
        ({"stop_when_exact": 1}, "true or false"),
        ({"seconds": None}, "set search.seconds or search.decodes"),
        ({"seconds": None, "decodes": 5}, "polish=gp has no budget"),
        ({"seconds": 0}, "above 0"),
        ({"decodes": 0}, "at least 1"),
        ({"method": "none", "polish": "none"}, "would search nothing"),
        ({"polish_operators": "add"}, "must be a list"),
        ({"polish_operators": ["add", "sinn"]}, "did you mean"),
        ({"polish_operators": ["sin"]}, "two arguments"),
        ({"popluation": 5}, "did you mean search.population"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        LatentSearchSettings.of(options)
    assert "\n" not in str(caught.value)


def test_settings_import_nothing_heavy() -> None:
    code = (
        "import sys; import searches.latent_space.settings; "
        "print(sorted({'torch', 'cma', 'deap', 'sympy', 'lightning', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_setting_is_explained() -> None:
    text = LatentSearchSettings.__doc__ or ""
    for item in dataclasses.fields(LatentSearchSettings):
        assert f"{item.name}:" in text or f"{item.name}," in text, item.name


# --- with a real map --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Any:
    """The real network with random weights."""
    import torch

    from datamodules.streams.skeleton_pool import OPERATOR_NAMES
    from expressions.skeleton import INTEGERS
    from expressions.vocabulary import Vocabulary
    from modules.networks.equation_map.conditional_vae import ConditionalVAE
    from modules.networks.equation_map.latent_map import LatentMap
    from modules.settings.cvae import MapSize

    torch.manual_seed(0)
    vocabulary = Vocabulary(list(OPERATOR_NAMES), 3, integers=INTEGERS)  # all that structures are made of
    network = ConditionalVAE(
        vocabulary,
        10,
        MapSize(
            width=16, queries=2, heads=2, encoder_layers=1, equation_layers=1,
            decoder_layers=1, decoder_width=None, prefix=2, latents=8,
        ),
    )  # fmt: skip
    return LatentMap(network.eval().requires_grad_(False))


@pytest.mark.parametrize("method", ["cmaes", "prior", "greedy", "paper"])
def test_a_real_map_is_searched_the_same_every_time(method: str, real: Any, tmp_path: Path) -> None:
    data = table(noise=0.1)
    first = run(real, data, method=method, decodes=102)
    assert np.isfinite(first.best.error)
    if method != "greedy":
        run(real, data, method=method, decodes=34 if method == "paper" else 48, state_path=tmp_path / "state")
    assert story(run(real, data, method=method, decodes=102, state_path=tmp_path / "state")) == story(first)


def test_a_real_map_takes_what_a_table_may_be(real: Any) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(500, 5)) * np.array([1e8, 1.0, 1e-9, 3.0, 0.0])
    target = 1e20 * np.sin(inputs[:, 0] / 1e8) + 1e19 * inputs[:, 3]
    result = run(real, (inputs, target), decodes=96, polish="gp", polish_generations=2)
    assert result.best.error < 0.5
    assert len(result.notes) == 1
