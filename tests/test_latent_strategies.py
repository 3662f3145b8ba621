"""Where the search in a latent space looks next: CMA-ES with elites, prior samples, and GenSR's own way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expressions.parsing import parse
from expressions.skeleton import skeleton_of
from searches.latent_space.cma_strategy import CMAStrategy
from searches.latent_space.paper_strategy import PaperStrategy
from searches.latent_space.skeleton_scores import Elite
from searches.latent_space.strategies import Outcome, Prior
from searches.latent_space.tables import PreparedTable
from tests.latent_maps import CodeMap
from tests.latent_searches import BOOK, TRUTH, decoded, run, settings, table

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
