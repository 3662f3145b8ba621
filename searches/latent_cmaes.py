"""Symbolic regression in the latent space of a map of equations: tables in, a Pareto front of equations out.

A map of equations (GenSR: Q. Li et al., "GenSR: symbolic regression based on equation generative space", ICLR
2026) has learned p(z | numbers), q(z | numbers, equation) and p(equation | z). The prior of the table at hand says
where to look; a strategy (`searches.latent_space.strategies`) proposes latents there, a generation at a time;
their skeletons are fitted, each once (`searches.latent_space.skeleton_scores`), and say where to look next. What
is not exact in the end may be taken up by genetic programming.

The whole state is on disk after every generation, and a search that goes on from it equals the uninterrupted one
bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from expressions.expression import Expression
from expressions.skeleton import Skeleton, skeleton_of
from foundation.errors import UserError
from searches.common.refinement import Finish, near_front
from searches.common.regression_task import RegressionTask
from searches.common.search_state import StateError, fingerprint, load_state, save_state
from searches.common.skeleton_fitting import SkeletonFitter
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search as evolve
from searches.latent_space.settings import LatentSearchSettings
from searches.latent_space.skeleton_scores import Elite, SkeletonScores
from searches.latent_space.strategies import (
    CMAStrategy,
    GreedyStrategy,
    Outcome,
    PaperStrategy,
    Prior,
    PriorStrategy,
    Strategy,
)
from searches.latent_space.tables import PreparedTable, Table
from searches.latent_space.target_rewriting import Rewriter, Rewriting
from searches.link_regression import linked_sums, seconds_of_sums, sums_of_parts
from searches.pareto_front import EXACT_NMSE, Candidate, ParetoFront
from searches.search_result import SearchResult

__all__ = ["LatentMap", "search"]

_NEARLY_EXACT = 1e-8  # error on the search rows from which an equation is tried for exactness on all rows
_LEAST_POLISH_SECONDS = 0.5  # below, genetic programming would not get beyond its first population
_SUMS_TRIED = 3  # for exactness
_RECOMBINED = 24  # equations that are put together from parts of others at a time


class LatentMap(Protocol):
    """What a search needs of a trained map of equations. NumPy in and out, float64."""

    variables: int
    """That it knows; tables have as many or fewer."""
    latents: int

    def prior(self, tables: Sequence[Table]) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of p(z | numbers). Each `[tables, latents]`"""

    def posterior(self, table: Table, skeletons: Sequence[Skeleton]) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of q(z | numbers, equation). Each `[skeletons, latents]`"""

    def decode(
        self, latents: np.ndarray, variables: int, *, temperature: float = 1.0, seed: int = 0
    ) -> list[Skeleton]:
        """A skeleton for every one of `latents [n, latents]`, of the first `variables` variables."""


def search(
    latent_map: LatentMap | None,
    inputs: np.ndarray,
    target: np.ndarray,
    settings: LatentSearchSettings | None = None,
    *,
    seed: int,
    validation: Table | None = None,
    names: Sequence[str] | None = None,
    identity: str = "",
    state_path: Path | str | None = None,
    on_generation: Callable[[dict[str, float], Expression], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search for equations of `target` in terms of the columns of `inputs`.

    Args:
        latent_map: the map; None with `method=none`.
        inputs: `[rows, variables]`, finite.
        target: `[rows]`, finite, not constant.
        settings: defaults when not given.
        seed: same seed, settings, data and map: same result (with budgets other than time).
        validation: held-out `(inputs, target)` by which equations are picked; training rows when not given.
        names: of the variables, for notes.
        identity: of the map: a state of a search with another one is not gone on from.
        state_path: file that holds the state after every generation; an existing one is gone on from. The polish
            has its own beside it, with the ending `.polish`.
        on_generation: called with the newest entry of the history and the best equation so far.
        should_stop: asked after every generation.

    Returns:
        The result; after Ctrl-C, that of the generations that were finished.

    Raises:
        ValueError: the data cannot be searched, see `searches.common.regression_task.RegressionTask`.
        StateError: the state file belongs to another search or is damaged.
    """
    run = _Run(
        latent_map,
        inputs,
        target,
        settings or LatentSearchSettings(),
        seed=seed,
        validation=validation,
        names=names,
        identity=identity,
        state_path=Path(state_path) if state_path else None,
        on_generation=on_generation,
        should_stop=should_stop,
    )
    stopped = run.search()
    if run.wants_polish(stopped):
        return run.result(*run.polish())
    return run.result(stopped, run.finish())


class _Run:
    """The course of one search: generations, budgets, state on disk, final equations, polish."""

    def __init__(
        self,
        latent_map: LatentMap | None,
        inputs: np.ndarray,
        target: np.ndarray,
        settings: LatentSearchSettings,
        *,
        seed: int,
        validation: Table | None,
        names: Sequence[str] | None,
        identity: str,
        state_path: Path | None,
        on_generation: Callable[[dict[str, float], Expression], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._start, self._seconds_before = time.perf_counter(), 0.0
        self.map, self.settings, self.seed, self.validation = latent_map, settings, seed, validation
        self.state_path, self.on_generation, self.should_stop = state_path, on_generation, should_stop
        self.task = RegressionTask(
            inputs, target, validation=validation, search_rows=settings.search_rows, seed=seed
        )
        self.identity = fingerprint(
            self.task.inputs, self.task.target, repr(sorted(_identity(settings).items())), seed, identity
        )
        known = self.task.variables if latent_map is None else latent_map.variables
        self.table = PreparedTable.of(self.task.inputs, self.task.target, known, names)
        self._clean = self.table.views(1, seed)[0]
        self.notes = () if settings.method == "none" else self.table.notes
        self.scores = SkeletonScores(
            SkeletonFitter(
                self.table.inputs,
                self.table.target,
                seed=seed,
                parsimony=settings.parsimony,
                longest=settings.longest,
                search_rows=settings.search_rows,
                screen_rows=settings.screen_rows,
                frequency_starts=1 if settings.method == "paper" else settings.frequency_starts,
                starts=1 if settings.method == "paper" else settings.starts,
                linear_scaling=True,
                screen_iterations=settings.screen_iterations,
                fit_iterations=settings.fit_iterations,
            ),
            settings.elites,
            None if settings.method == "paper" else settings.fitted_share,
        )
        self._finish = Finish(
            self.task,
            iterations=settings.finish_iterations,
            polish_equations=settings.polish_equations,
            simplify_seconds=settings.simplify_seconds,
        )
        self.strategy: Strategy | None = None
        self.rewriter: Rewriter | None = None
        self.generation = -1  # the last finished one
        self.decodes = 0
        self.history: list[dict[str, float]] = []
        self.exact: Candidate | None = None
        self.sums: list[Expression] = []
        """What regression has found in the columns shown."""
        self._refuted: set[Expression] = set()
        self._posteriors: dict[Skeleton, np.ndarray | None] = {}
        self._polish_evaluations = 0

    @property
    def seconds(self) -> float:
        """Time spent, the attempts before a resume included."""
        return self._seconds_before + time.perf_counter() - self._start

    # --- generations --------------------------------------------------------------------------------------------

    def search(self) -> str:
        """Generations until a budget is spent or an equation is exact; why it ended."""
        if self.settings.method == "none":
            return "none"
        try:
            self.strategy = self._strategy()
            self._resume()
            while (reason := self._spent()) is None:
                self._generation()
                if self.on_generation is not None:
                    self.on_generation(self.history[-1], self._leader())
        except KeyboardInterrupt:
            if self.generation < 0:
                raise
            reason = "interrupted"
        except StateError:  # after the first generation, what was found counts for more than the state
            if self.generation < 1:
                raise
            reason = "disk"
        except UserError as error:
            self.notes = (*self.notes, f"the map cannot be searched on this table: {error}")
            reason = "map"
        return reason

    def _strategy(self) -> Strategy:
        settings, seed = self.settings, self.seed
        if settings.method == "paper":
            return PaperStrategy(self.table, self._prior, settings, seed)
        views = self.table.views(1 if settings.method == "greedy" else settings.views, seed)
        prior = self._prior(views)
        if settings.method == "greedy":
            return GreedyStrategy(prior)
        if settings.method == "prior":
            return PriorStrategy(prior, settings, seed)

        def elites() -> list[Elite]:
            return self.scores.elites

        if settings.rewritten:
            self.rewriter = Rewriter(self._clean, self._one_prior, elites, settings.power, seed)
        return CMAStrategy(prior, settings, seed, elites, self._posterior)

    def _prior(self, views: Sequence[Table]) -> Prior:
        assert self.map is not None
        means, deviations = (np.asarray(part, dtype=np.float64) for part in self.map.prior(views))
        if not (np.isfinite(means).all() and np.isfinite(deviations).all() and (deviations > 0).all()):
            raise UserError("its prior is not finite")
        return Prior(means, deviations)

    def _one_prior(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        prior = self._prior([table])
        return prior.means[0], prior.deviations[0]

    def _posterior(self, elite: Elite) -> np.ndarray | None:
        """Mean of q(z | numbers, elite), remembered; None where the map cannot say, as of too long an elite.

        One elite a call: in a batch, its last bits would depend on the others, which a resumed search does not
        ask for again.
        """
        assert self.map is not None
        if elite.decoded not in self._posteriors:
            if len(self._posteriors) > 8 * self.settings.elites:
                self._posteriors.clear()
            try:
                mean, _ = self.map.posterior(self._clean, [elite.decoded])
                self._posteriors[elite.decoded] = np.asarray(mean[0], dtype=np.float64)
            except UserError:  # it was put together from several that the map has written
                self._posteriors[elite.decoded] = None
        return self._posteriors[elite.decoded]

    def _generation(self) -> None:
        assert self.strategy is not None
        settings, number = self.settings, self.generation + 1
        if number == 0 and settings.linked_sums:
            self._begin_with_sums()
        own = self.strategy.ask(number)
        asked = self._questions(number)
        latents = np.concatenate([own, *(latent[None] for latent, _ in asked)])
        left = math.inf if settings.decodes is None else settings.decodes - self.decodes
        whole = len(latents) <= left
        decoded = self._decoded(number, latents if whole else latents[: int(left)])
        ours, answers = decoded[: len(own)], decoded[len(own) :]
        known = np.array([self.scores.is_known(skeleton) for skeleton in ours])
        skeletons = [*ours, *(one.answered(answer) for (_, one), answer in zip(asked, answers, strict=False))]
        errors, scores = self.scores.errors(skeletons), self.scores.scores(skeletons)
        self.decodes += len(decoded)
        if whole:  # a generation that the budget has cut short is the last: nobody learns from it
            lengths = np.array([len(skeleton) for skeleton in ours])
            self.strategy.tell(Outcome(errors[: len(own)], scores[: len(own)], lengths, known))
        self.generation = number
        self._check_exact()
        if self.scores.elites and self.exact is None and settings.recombines_after(number):
            self._recombine()
        self._record()
        self._save()

    def _questions(self, generation: int) -> list[tuple[np.ndarray, Rewriting]]:
        if self.rewriter is None:
            return []
        return self.rewriter.ask(generation, self.settings.rewritten, self.settings.question_samples)

    def _begin_with_sums(self) -> None:
        """What regression finds: the formula itself, or elites for the search and seeds for the polish."""
        settings, task = self.settings, self.scores.fitter.task
        self.sums = linked_sums(
            task.search_inputs,
            task.search_target,
            settings.polish_operators,
            settings.linked_sums,
            seconds_of_sums(settings.seconds),
        )
        self._try_sums()
        if self.exact is None or not settings.stop_when_exact:
            self.scores.errors([skeleton_of(equation) for equation in self.sums])

    def _try_sums(self) -> None:
        for equation in self.sums[:_SUMS_TRIED]:
            if self.exact is None:
                self._try(equation)

    def _recombine(self) -> None:
        """Put equations together from parts of the best ones: they are scored, and may become elites.

        The best of every length are among these: elites may all be long.
        """
        task = self.scores.fitter.task
        best = [*near_front(self.scores.fitter.best), *(elite.expression for elite in self.scores.elites)]
        found = sums_of_parts(
            best,
            task.search_inputs,
            task.search_target,
            self.settings.polish_operators,
            _RECOMBINED,
            self._seconds_left(),
        )
        self.scores.errors([skeleton_of(equation) for equation in found])
        self._check_exact()

    def _decoded(self, generation: int, latents: np.ndarray) -> list[Skeleton]:
        assert self.map is not None
        assert self.strategy is not None
        return self.map.decode(
            latents,
            len(self.table.columns),
            temperature=self.strategy.temperature,
            seed=int(np.random.SeedSequence([self.seed, 1, generation]).generate_state(1)[0]),
        )

    def _leader(self) -> Expression:
        """The most accurate equation, without scale and offset, of the columns shown."""
        best = self.scores.fitter.best
        if not best:
            return Expression.constant(1.0)
        return best[min(best, key=lambda size: (best[size][0], size))][1]

    def _record(self) -> None:
        assert self.strategy is not None
        best = self.scores.fitter.best
        self.history.append(
            {
                "generation": self.generation,
                "seconds": self.seconds,
                "decodes": self.decodes,
                "skeletons": len(self.scores),
                "evaluations": round(self.scores.evaluations),
                "best_nmse": min((error for error, _ in best.values()), default=1.0),
                "best_length": len(self._leader()),
                "sigma": self.strategy.sigma,
                "restarts": self.strategy.restarts,
            }
        )

    def _check_exact(self) -> None:
        """Whether the most accurate equation is the formula itself, on every row and in float64."""
        best, leader = self.scores.fitter.best, self._leader()
        if not best or min(error for error, _ in best.values()) > _NEARLY_EXACT or leader in self._refuted:
            return
        self._try(leader)

    def _try(self, found: Expression) -> None:
        """Whether an equation of the columns shown is the formula."""
        equation = self.table.restored(found)
        for complete in self.task.complete([equation], iterations=20, fixed=[self._fixed(equation)]):
            candidate = self._finish.judged(complete)
            if candidate.error < EXACT_NMSE:
                self.exact = candidate
        self._refuted.add(found)

    def _fixed(self, equation: Expression) -> np.ndarray:
        """Constants that are the unit of a column. `[constants]` bool"""
        return np.isin(equation.constants, list(self.table.factors))

    def _spent(self) -> str | None:
        """Why the search must end now, None while it may go on."""
        assert self.strategy is not None
        settings = self.settings
        if self.generation < 0:  # however short the budget, there is something to show
            return None
        if self.exact is not None and settings.stop_when_exact:
            return "exact"
        if self.strategy.ended is not None:
            return self.strategy.ended
        if settings.decodes is not None and self.decodes >= settings.decodes:
            return "decodes"
        if self._seconds_left() <= 0.0:
            return "seconds"
        if self.should_stop is not None and self.should_stop():
            return "interrupted"
        return None

    def _seconds_left(self) -> float:
        """For generations: until it is time for the last fit, or for the polish."""
        settings = self.settings
        if settings.seconds is None:
            return math.inf
        ours = settings.seconds * (1.0 - settings.polish_share if settings.polish == "gp" else 1.0)
        return ours * (1.0 - settings.finish_share) - self.seconds

    # --- on disk ------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.state_path is None:
            return
        assert self.strategy is not None
        save_state(
            self.state_path,
            {
                "identity": self.identity,
                "generation": self.generation,
                "decodes": self.decodes,
                "seconds": self.seconds,
                "history": self.history,
                "strategy": self.strategy.state(),
                "scores": self.scores.state(),
                "sums": [[one.tokens.tolist(), one.constants.tolist()] for one in self.sums],
            },
        )

    def _resume(self) -> None:
        if self.state_path is None or not self.state_path.exists():
            return
        state = load_state(self.state_path)
        if state.get("identity") != self.identity:
            raise StateError(
                f"{self.state_path} holds the state of a search with other data, settings, seed or map: "
                "give the search another directory, or delete the file to start anew"
            )
        self.generation, self.decodes = state["generation"], state["decodes"]
        self.history = state["history"]
        self._seconds_before = state["seconds"]
        self.scores.load(state["scores"])
        self.sums = [Expression(tokens, constants) for tokens, constants in state["sums"]]
        assert self.strategy is not None
        self.strategy.load(state["strategy"])
        self._try_sums()
        self._check_exact()

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self, *, rough: bool = False) -> ParetoFront:
        """Fit on more rows in the table's own units, score on all rows; prune, simplify, round unless `rough`."""
        best = {
            size: (error, self.table.restored(equation))
            for size, (error, equation) in self.scores.fitter.best.items()
        }
        mean = self._finish.judged(Expression.constant(float(self.task.target.mean())))
        known = [mean] + ([] if self.exact is None else [self.exact])
        if rough:
            return self._finish.rough_front(best, known, self._fixed)
        left = math.inf if self.settings.seconds is None else self.settings.seconds - self.seconds
        return self._finish.front(best, known, self._fixed, left)

    def wants_polish(self, stopped: str) -> bool:
        """Whether genetic programming is to go on from here."""
        settings = self.settings
        if settings.polish == "none" or stopped in ("interrupted", "disk"):
            return False
        if self.exact is not None and settings.stop_when_exact:
            return False
        left = math.inf if settings.seconds is None else settings.seconds - self.seconds
        return left > _LEAST_POLISH_SECONDS or settings.method == "none" or stopped == "map"

    def polish(self) -> tuple[str, ParetoFront]:
        """Genetic programming from the best equations, for the rest of the time; its front and ours as one.

        It works on the columns in ordinary units, too, and on all of them, whatever the map was shown. It prunes,
        simplifies and rounds what it ends with, so ours is left rough.
        """
        settings = self.settings
        before = self.seconds
        everything = PreparedTable.of(self.task.inputs, self.task.target, self.task.variables)
        known = bool(self.sums) and len(self.table.columns) == self.task.variables
        try:
            result = evolve(
                everything.inputs,
                self.task.target,
                GeneticProgrammingSettings(
                    operators=settings.polish_operators,
                    search_rows=settings.search_rows,
                    generations=settings.polish_generations,
                    seconds=None if settings.seconds is None else max(0.0, settings.seconds - before),
                    stop_when_exact=settings.stop_when_exact,
                    finish_iterations=settings.finish_iterations,
                    polish_equations=settings.polish_equations,
                    simplify_seconds=settings.simplify_seconds,
                    linked_sums=0 if known else GeneticProgrammingSettings.linked_sums,
                ),
                seed=self.seed,
                validation=None if self.validation is None else everything.scaled(*self.validation),
                seeds=self._seeds(),
                state_path=None if self.state_path is None else self.state_path.with_suffix(".polish"),
                on_generation=lambda entry, best: self._count_on(entry, best, before),
                should_stop=self.should_stop,
            )
        except KeyboardInterrupt:
            return "interrupted", self.finish()
        except StateError as error:
            if "cannot be written" not in str(error):
                raise
            return "disk", self.finish()
        self.history = [*self.history, *(self._converted(entry, before) for entry in result.history)]
        self._polish_evaluations = result.evaluations
        found = [self._finish.judged(everything.restored(c.expression)) for c in result.front]
        return result.stopped, ParetoFront.of([*self.finish(rough=True), *found])

    def _seeds(self) -> list[Expression]:
        """The best equations for their size, the most accurate first, then those of the elites, then the sums."""
        best = near_front(self.scores.fitter.best)
        elites = [elite.expression for elite in self.scores.elites]
        chosen = list(dict.fromkeys([*reversed(best), *elites]))[: self.settings.polish_seeds]
        return [self.table.renamed(equation) for equation in [*chosen, *self.sums]]

    def _count_on(self, entry: dict[str, float], best: Expression, before: float) -> None:
        if self.on_generation is not None:
            self.on_generation(self._converted(entry, before), best)

    def _converted(self, entry: dict[str, float], before: float) -> dict[str, float]:
        """An entry of the polish's history as one of this search's."""
        return {
            "generation": self.generation + 1 + entry["generation"],
            "seconds": before + entry["seconds"],
            "decodes": self.decodes,
            "skeletons": len(self.scores),
            "evaluations": round(self.scores.evaluations) + entry["evaluations"],
            "best_nmse": entry["best_nmse"],
            "best_length": entry["best_length"],
            "sigma": 0.0,
            "restarts": 0 if self.strategy is None else self.strategy.restarts,
        }

    def result(self, stopped: str, front: ParetoFront) -> SearchResult:
        """Everything together."""
        return SearchResult(
            front=front,
            history=self.history,
            seconds=self.seconds,
            evaluations=round(self.scores.evaluations) + self._polish_evaluations,
            stopped=stopped,
            counts={"decodes": self.decodes, "skeletons": len(self.scores)},
            notes=self.notes,
        )


def _identity(settings: LatentSearchSettings) -> dict[str, Any]:
    """The settings that a resumed search must share; budgets may be raised, and the end be another one."""
    free = {"seconds", "decodes", "stop_when_exact", "simplify_seconds"}
    ends = ("finish_", "polish")
    return {key: value for key, value in asdict(settings).items() if key not in free and not key.startswith(ends)}
