"""Symbolic regression by all searches together: tables in, a Pareto front of equations out.

Regression, genetic programming, hard structures of an equation learner, and a map of equations share one budget,
one set of rows and one front. Each starts from what the others have found, and time goes to what has lowered the
description length lately. A table of other units or of many columns is brought into shape first, and equations are
of the table's own columns in the end.

An algorithm portfolio: B. Huberman, R. Lukose and T. Hogg, "An economics approach to hard computational problems",
Science 1997.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from expressions.expression import Expression
from searches.common.exactness import NEARLY_EXACT, ExactnessCheck
from searches.common.history import add_entry
from searches.common.parallel import ProcessKilledError
from searches.common.refinement import Refinement
from searches.common.shifted_columns import ShiftedColumns
from searches.common.whole_table import WholeTable
from searches.direct.first_equations import equations_of_far_columns
from searches.latent_space.equation_map import EquationMap, MapFile
from searches.portfolio_members.allocation import Allocation
from searches.portfolio_members.crew import Crew, Report, possible_methods
from searches.portfolio_members.data import PortfolioData
from searches.portfolio_members.ending import final_front
from searches.portfolio_members.member import Offer
from searches.portfolio_members.progress import Progress, ProgressReports
from searches.portfolio_members.robust import robustly_searched
from searches.portfolio_members.settings import LOSSES, METHODS, PortfolioSettings
from searches.portfolio_members.shared_front import Finder, SharedFront
from searches.portfolio_members.standing_front import StandingFront
from searches.portfolio_members.stock_taking import StockTaking
from searches.portfolio_members.straight_lines import straight_lines
from searches.portfolio_members.workers import RemoteCrew, open_crews
from searches.search_result import SearchResult

__all__ = ["LOSSES", "MAP_SECONDS", "METHODS", "PortfolioSettings", "Progress", "search"]

MAP_SECONDS = 12.0
"""Budget below which loading a map would take too much of it, so that all methods together leave it out."""

_FINISH_SHARE, _LONGEST_FINISH = 0.15, 6.0  # of the time, kept for the last fit, pruning and rounding
_SHORTEST_FINISH, _SHORTEST_SHARE = 0.3, 0.3  # seconds at least, or this share of a budget that is shorter
_INTERRUPTED_SECONDS = 0.5  # for the end after Ctrl-C
_FIRST_SHARE, _FIRST_SECONDS = 0.25, 5.0  # of the time, and at most so long, for the first step of regression
_SHORT_SHARE, _SHORT_SECONDS = 0.6, 0.6  # share of a short budget instead, up to so long
_OWN_SHARE = 0.05  # of the time, for laws of columns far from 0 as they are
_REGRESSION_EVALUATIONS = 1_000  # budget below which regression, which compares many more terms, is left out
_MAP_LEAD, _STRUCTURE_LEAD = 0.1, 0.05  # of the budget, before which the map and the structures have no turn
_PAUSE = 0.02  # seconds between two looks at the others, where this process has nothing to do
_CHECKED_AT_ONCE = 3  # nearly exact equations that are checked after a turn
_NEWS_TO_GO_ON = 3  # equations of others after which a member that was done has something to do


def search(
    inputs: np.ndarray,
    target: np.ndarray,
    settings: PortfolioSettings | None = None,
    *,
    seed: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    weights: np.ndarray | None = None,
    validation_weights: np.ndarray | None = None,
    seeds: Sequence[Expression] = (),
    workers: int = 1,
    latent_map: EquationMap | MapFile | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search for equations of `target` in terms of the columns of `inputs`.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        settings: settings of the search; the defaults when not given.
        seed: random seed: with a budget of evaluations alone, same seed, settings, data and number of workers,
            same result.
        validation: held-out `(inputs, target)` by which equations are picked; training rows when not given.
        weights: weights of the rows' squared errors, none negative; None: all alike. `[rows]`
        validation_weights: the same for the held-out rows. `[validation rows]`
        seeds: equations to start from.
        workers: number of processes, this one among them.
        latent_map: map of equations, or the file to load it from; None: the method `map` is left out.
        on_progress: function that is called some five times a second with how far the search is.
        should_stop: function that says after every turn whether to end.

    Returns:
        The result; after Ctrl-C, with what was found by then. Its `counts` are the turns of every method. It ended
        (`stopped`) by `exact`, `settled` (see `PortfolioSettings`), `seconds`, `evaluations`, `done` (nothing is
        left to be tried) or `interrupted`.

    Raises:
        ValueError: the data cannot be searched (see `searches.common.whole_table.WholeTable`), or no
            method can work with the operators and the map at hand.
    """
    begun = time.perf_counter()
    settings = settings or PortfolioSettings()
    if settings.loss == "huber":

        def part(
            some: PortfolioSettings,
            row_weights: np.ndarray,
            held_out_weights: np.ndarray | None,
            guesses: Sequence[Expression],
        ) -> SearchResult:
            return search(
                inputs,
                target,
                some,
                seed=seed,
                validation=validation,
                weights=row_weights,
                validation_weights=held_out_weights,
                seeds=guesses,
                workers=workers,
                latent_map=latent_map,
                on_progress=on_progress,
                should_stop=should_stop,
            )

        return robustly_searched(part, inputs, target, settings, validation, weights, validation_weights, seeds)
    shift = ShiftedColumns.of(inputs)
    if shift:
        ends = math.inf if settings.seconds is None else begun + _OWN_SHARE * settings.seconds
        own = equations_of_far_columns(inputs, target, settings.operators, settings.search_rows, ends)
        seeds = [shift.taken(equation) for equation in (*seeds, *own)]
        inputs = shift.shifted(inputs)
        validation = None if validation is None else (shift.shifted(validation[0]), validation[1])
        on_progress = None if on_progress is None else _restoring(on_progress, shift)
    whole = WholeTable(
        inputs, target, validation=validation, weights=weights, validation_weights=validation_weights
    )
    data = PortfolioData(whole, settings, seed)
    run = _Run(data, settings, seed, seeds, latent_map, begun, on_progress)
    with open_crews(data.shown_task, run.remote_offers(workers), latent_map) as crews:
        stopped = run.turns(crews, should_stop)
    result = run.result(stopped)
    return replace(result, front=shift.restored_front(result.front), notes=(*result.notes, *shift.notes()))


def _restoring(told: Callable[[Progress], None], shift: ShiftedColumns) -> Callable[[Progress], None]:
    """A function that is told of equations of the table's own columns."""
    return lambda progress: told(replace(progress, front=shift.restored_front(progress.front)))


def _refining_seconds(seconds: float) -> float:
    """Time of a search that is kept for the last fit, pruning and rounding."""
    shortest = min(_SHORTEST_FINISH, _SHORTEST_SHARE * seconds)
    return min(_LONGEST_FINISH, max(shortest, _FINISH_SHARE * seconds))


def _first_seconds(seconds: float) -> float:
    """Time of a search that the first step of regression has, which finds most of what is found soon."""
    short = min(_SHORT_SHARE * seconds, _SHORT_SECONDS)
    return min(max(_FIRST_SHARE * seconds, short), _FIRST_SECONDS)


class _Run:
    """The course of a search: turns, one shared front, budgets, and the final equations.

    Args:
        data: table of the search.
        settings: settings of the search.
        seed: random seed.
        seeds: equations to start from, of the table's own columns.
        latent_map: map of equations; None: there is none.
        begun: time of the call.
        on_progress: function that is called with how far the search is.
    """

    def __init__(
        self,
        data: PortfolioData,
        settings: PortfolioSettings,
        seed: int,
        seeds: Sequence[Expression],
        latent_map: EquationMap | MapFile | None,
        begun: float,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.data, self.settings, self.seed, self.begun = data, settings, seed, begun
        self.refinement = Refinement(
            data.task,
            equations=settings.polish_equations,
            simplify_seconds=min(settings.simplify_seconds, self._finish_seconds),
        )
        self.exactness = ExactnessCheck(data.whole, data.task, self.refinement)
        self.methods = self._methods(latent_map is not None)
        self.latent_map = latent_map
        self.evaluations = 0
        self.turns_of = dict.fromkeys(self.methods, 0)
        self.found = SharedFront(data, len(settings.operators))
        self.history: list[dict[str, float]] = []
        self._allocations: list[Allocation] = []
        self._rests: dict[Finder, int] = {}  # until so much news, a member has nothing to do
        self._lost: set[int] = set()  # workers that were killed
        self._busy: set[int] = set()  # workers whose turn is not over
        self.standing = StandingFront(self.found, data, self.refinement)
        self.stock = StockTaking(self.found, self.standing, data, settings)
        self._progress = ProgressReports(self.standing, on_progress, every_turn=settings.seconds is None)
        self._begin_with(seeds)

    def _methods(self, has_map: bool) -> list[str]:
        settings = self.settings
        if settings.seconds is not None and settings.seconds < MAP_SECONDS and settings.methods != ("map",):
            has_map = False
        methods = possible_methods(settings.methods, settings.operators, has_map)
        if (
            settings.evaluations is not None
            and settings.evaluations < _REGRESSION_EVALUATIONS
            and len(methods) > 1
        ):
            methods = [method for method in methods if method != "regression"]
        if not methods:
            raise ValueError(
                f"none of the methods {', '.join(settings.methods)} can search with the operators "
                f"{', '.join(settings.operators)}{'' if has_map else ' and without a map'}: allow another method"
            )
        return methods

    @property
    def seconds(self) -> float:
        """Time since the call."""
        return time.perf_counter() - self.begun

    # --- turns --------------------------------------------------------------------------------------------------

    def remote_offers(self, workers: int) -> list[Offer]:
        """What every process but this one begins with."""
        return [self._offer(number) for number in range(1, workers)]

    def _offer(self, number: int) -> Offer:
        settings = self.settings
        first = None
        if settings.seconds is not None:
            first = _first_seconds(settings.seconds)
        guesses = tuple(equation for _, (_, equation) in sorted(self.found.best.items()))
        return Offer(
            (self.seed, number), settings.operators, settings.max_length, first, guesses, settings.evaluations
        )

    def turns(self, remote: Sequence[RemoteCrew], should_stop: Callable[[], bool] | None) -> str:
        """Turns until a budget is spent or an equation is exact; why it ended."""
        own = Crew(self.data.shown_task, self._offer(0), self.latent_map)
        self._allocations = [self._allocation(number, 1 + len(remote)) for number in range(1 + len(remote))]
        try:
            self._progress.report("", self.seconds, self.evaluations)  # to look at while the first turn lasts
            while (reason := self._spent(should_stop)) is None:
                self._round(own, remote)
        except KeyboardInterrupt:
            reason = "interrupted"
        return reason

    def _allocation(self, number: int, workers: int) -> Allocation:
        """Methods of a worker: the first one begins with regression, the last one has the map."""
        methods = [
            method
            for method in self.methods
            if len(self.methods) == 1
            or ((method != "regression" or number == 0) and (method != "map" or number == workers - 1))
        ]
        allocation = Allocation(methods or self.methods)
        budget = self.settings.seconds or 0.0
        for method, lead in (("map", _MAP_LEAD), ("structures", _STRUCTURE_LEAD)):
            if method in methods and len(methods) > 1:
                allocation.start(method, lead * budget)
        return allocation

    def _round(self, own: Crew, remote: Sequence[RemoteCrew]) -> None:
        """A turn of this process, beside those of the others.

        With a budget of time nobody waits for another; without one, all do, so that the same equations are found
        however fast each is.
        """
        waits = self.settings.seconds is None
        crews = list(enumerate(remote, start=1))
        for number, crew in crews:
            with self._mourned(number):
                if number not in self._busy and crew.is_up(waits) and (turn := self._turn(number)) is not None:
                    crew.begin_turn(*turn)
                    self._busy.add(number)
        if (turn := self._turn(0)) is not None:
            self._note(0, own.turn(*turn))
        elif not waits:
            time.sleep(_PAUSE)
        for number, crew in crews:
            with self._mourned(number):
                if number in self._busy and (waits or crew.has_report()):
                    self._busy.discard(number)
                    self._note(number, crew.report())

    @contextmanager
    def _mourned(self, worker: int) -> Iterator[None]:
        """Go on without a worker that was killed: what it had reported is not lost."""
        try:
            yield
        except ProcessKilledError:
            self._lost.add(worker)
            self._busy.discard(worker)

    def _turn(self, worker: int) -> tuple[str, list[Expression], float | None] | None:
        """Method of the next turn, what others have found since its last one, and the time; None: none is left."""
        left = self._ready(worker)
        if not left:
            return None
        method = self._allocations[worker].next(left)
        news = self.found.news_for((worker, method))
        seconds = None if self.settings.seconds is None else min(self.settings.turn_seconds, self._search_left())
        return method, news, seconds

    def _ready(self, worker: int) -> list[str]:
        """The methods of a worker that have something to do."""
        if worker in self._lost:
            return []
        return [
            method
            for method in self._allocations[worker].methods
            if self._rests.get((worker, method), 0) <= self.found.news
        ]

    def _note(self, worker: int, report: Report) -> None:
        """Take up what a turn has brought."""
        before = self.found.code_length
        self.evaluations += report.evaluations
        self.turns_of[report.method] += 1
        for error, equation in report.found:
            self.found.keep(error, equation, (worker, report.method))
        self.found.shortlist.merge(report.rivals)
        if report.is_done:
            self._rests[worker, report.method] = self.found.news + _NEWS_TO_GO_ON
        gain = max(0.0, before - self.found.code_length)
        if report.method != "regression" or self.turns_of["regression"] > 1:  # what all begin with has no price
            cost = report.seconds if self.settings.seconds is not None else float(report.evaluations)
            self._allocations[worker].note(report.method, max(cost, 1e-3), gain)
        self._check_exact()
        if self.exactness.exact is None:
            self.stock.after(self.seconds, self.evaluations)
        self._record()
        self._progress.report(report.method, self.seconds, self.evaluations)

    def _begin_with(self, seeds: Sequence[Expression]) -> None:
        """Equations that need no search: those that were given, and straight lines of the columns shown."""
        task, table = self.data.shown_task, self.data.table
        known = set(table.columns)
        equations = [table.taken(equation) for equation in seeds if known.issuperset(equation.variables)]
        fitted, errors = task.fit(
            [*equations, *straight_lines(task)], iterations=10, rng=np.random.default_rng(self.seed)
        )
        for equation, error in zip(fitted, errors.tolist(), strict=True):
            self.found.keep(error, equation, (-1, ""))

    def _record(self) -> None:
        if not self.found.best:
            return
        error, leader = min(self.found.best.values(), key=lambda found: found[0])
        add_entry(
            self.history,
            {
                "generation": sum(self.turns_of.values()),
                "seconds": self.seconds,
                "evaluations": self.evaluations,
                "best_nmse": error,
                "best_length": len(leader),
            },
        )

    # --- is it exact? is it time? -------------------------------------------------------------------------------

    def _check_exact(self) -> None:
        """Whether one of the most accurate equations, the shortest first, is exact on every row and in float64."""
        if self.exactness.exact is not None:
            return
        near = [equation for _, (error, equation) in sorted(self.found.credible.items()) if error <= NEARLY_EXACT]
        for found in [each for each in near if not self.exactness.is_refuted(each)][:_CHECKED_AT_ONCE]:
            equation = self.data.table.restored(found)
            if self.exactness.check(found, equation, self.data.units_of(equation)):
                return

    def _search_left(self) -> float:
        """Time until the end of the last turn."""
        if self.settings.seconds is None:
            return math.inf
        return self.settings.seconds - self._finish_seconds - self.seconds

    @property
    def _finish_seconds(self) -> float:
        """Time that is kept for the end."""
        if self.settings.seconds is None:
            return math.inf
        return _refining_seconds(self.settings.seconds) + self.data.whole.scoring_seconds

    def _spent(self, should_stop: Callable[[], bool] | None) -> str | None:
        """Why the search must end now, None while it may go on."""
        settings = self.settings
        if self.exactness.exact is not None and settings.stop_when_exact:
            return "exact"
        if self.stock.settled and settings.stop_when_settled:
            return "settled"
        if not self._busy and not any(self._ready(worker) for worker in range(len(self._allocations))):
            return "done"
        if self._search_left() <= 0:
            return "seconds"
        if settings.evaluations is not None and self.evaluations >= settings.evaluations:
            return "evaluations"
        if should_stop is not None and should_stop():
            return "interrupted"
        return None

    # --- the end ------------------------------------------------------------------------------------------------

    def result(self, stopped: str) -> SearchResult:
        """The front, refined, fitted and scored on all rows."""
        ends = math.inf if self.settings.seconds is None else self.settings.seconds
        if stopped == "interrupted":
            ends = min(ends, self.seconds + _INTERRUPTED_SECONDS + self.data.whole.scoring_seconds)
        self.standing.look()
        front, notes = final_front(
            self.found,
            self.exactness.exact,
            self.standing.leaders,
            self.data,
            self.refinement,
            self.settings.max_complexity,
            ends - self.seconds,
        )
        return SearchResult(
            front=front,
            history=self.history,
            seconds=self.seconds,
            evaluations=self.evaluations,
            stopped=stopped,
            counts=self.turns_of,
            notes=(*self._notes(), *notes),
        )

    def _notes(self) -> tuple[str, ...]:
        shown, count = self.data.table.columns, self.data.whole.variables
        notes = []
        if len(shown) < count:
            notes.append(f"{len(shown)} of {count} columns were searched, those that explain most of the target")
        if self._lost:
            notes.append(
                f"{len(self._lost)} process(es) of the search were killed, as happens when memory is short"
            )
        return tuple(notes)
