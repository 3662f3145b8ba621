"""Symbolic regression by hard structures of an equation learner: tables in, a Pareto front of equations out.

A generation proposes structures: most copy an elite and draw some places anew, the others are wholly new. The
skeletons they stand for are fitted, and the best become elites. New places come from a proposer, which may learn
from the elites, as `modules.gmeql.GMEQL` does; without one they are drawn at random. A search that no longer gets
better begins anew, and keeps what it found.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2,
    Algorithm 1, with hard structures and constants of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.default_layers import DEFAULT_LAYERS
from expressions.equation_learner.structure_space import StructureSpace
from expressions.expression import Expression
from searches.common.checked_rows import checked_rows
from searches.common.search_state import StateError, checked_state, fingerprint, save_state
from searches.gumbel_structures.course import SearchCourse
from searches.gumbel_structures.course_state import of_lists
from searches.gumbel_structures.proposers import Proposer, RandomProposer
from searches.gumbel_structures.settings import StructureSearchSettings
from searches.search_result import SearchResult

__all__ = ["Proposer", "StructureSearchSettings", "search"]

_BUDGETS = ("seconds", "instances", "polish_equations", "simplify_seconds", "stop_when_exact")
_ARRAYS = ("structures", "used", "seen", "memory")


def search(
    inputs: np.ndarray,
    target: np.ndarray,
    settings: StructureSearchSettings | None = None,
    *,
    seed: int,
    space: StructureSpace | None = None,
    proposer: Proposer | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    state_path: Path | str | None = None,
    on_generation: Callable[[dict[str, float], Expression], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search for equations of `target` in terms of the columns of `inputs`.

    Args:
        inputs: `[rows, variables]`, finite.
        target: `[rows]`, finite, not constant.
        settings: settings of the search; defaults when not given.
        seed: random seed for every draw. With a budget of instances, the same seed gives the same result.
        space: structures to search in; those of the default network when not given.
        proposer: source of new structures, for the same `space`; at random when not given.
        validation: held-out `(inputs, target)` by which equations are picked; training rows when not given.
        state_path: file for the state after every generation; the search goes on from it where it exists.
        on_generation: function called after every generation with its entry and the best equation so far.
        should_stop: function that says after every generation whether to end early.

    Returns:
        The result, whose `evaluations` are proposed structures; after Ctrl-C, that of the finished generations.

    Raises:
        ValueError: the data cannot be searched (see `RegressionTask`), or no equation was finite on all rows.
        StateError: the state file belongs to another search or is damaged.
    """
    begun = time.perf_counter()
    settings = settings or StructureSearchSettings()
    inputs, target = checked_rows(inputs, target, "training")
    space = space or StructureSpace(Architecture(DEFAULT_LAYERS, inputs.shape[1]))
    course = SearchCourse(inputs, target, space, settings, seed=seed, validation=validation)
    run = _Run(course, proposer or RandomProposer(space), Path(state_path) if state_path else None)
    course.start_clock(begun)
    course.progress.stopped = run.evolve(on_generation, should_stop)
    result = course.result()
    if not len(result.front):
        raise ValueError("no equation was finite on every row")
    return result


class _Run:
    """Generations after each other, with the state on disk."""

    def __init__(self, course: SearchCourse, proposer: Proposer, state_path: Path | None) -> None:
        self.course, self.proposer, self.state_path = course, proposer, state_path

    @cached_property
    def identity(self) -> str:
        """Fingerprint of data and settings, by which a state is known."""
        course = self.course
        settings = {k: v for k, v in course.settings.as_mapping().items() if k not in _BUDGETS}
        table, architecture = course.table, course.space.architecture
        layers = [layer.nodes for layer in architecture.layers]
        place = repr(sorted(settings.items())), course.seed, layers, architecture.constant
        return fingerprint(table.inputs, table.target, *place, type(self.proposer).__name__)

    def evolve(
        self,
        on_generation: Callable[[dict[str, float], Expression], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> str:
        """All generations. Returns the reason for the end."""
        course = self.course
        self._resume()
        try:
            while (reason := self._spent(should_stop)) is None:
                self._generation()
                if on_generation is not None and course.equation is not None:
                    on_generation(self._entry(course.equation), course.equation)
        except KeyboardInterrupt:
            if course.equation is None:
                raise
            return "interrupted"
        except StateError:  # after the first generation, what was found counts for more than the state
            if course.progress.generations < 2:
                raise
            return "disk"
        return reason

    def _spent(self, should_stop: Callable[[], bool] | None) -> str | None:
        """Reason to end now, None while the search may go on; there always is a first generation."""
        if not self.course.progress.generations:
            return None
        stop = should_stop is not None and should_stop()
        return self.course.finished or ("seconds" if self.course.late else "interrupted" if stop else None)

    def _generation(self) -> None:
        """One generation; its draws follow from the seed and its number."""
        course = self.course
        rng = np.random.default_rng([course.seed, course.progress.generations])
        if not course.progress.starts:
            course.begin(self.proposer)
        if len(course.repository):
            self.proposer.learn(*course.examples(rng))
        course.generation(self.proposer, rng)
        if self.state_path is not None:
            state = course.state() | {"identity": self.identity, "memory": self.proposer.memory}
            save_state(self.state_path, state | {name: state[name].tolist() for name in _ARRAYS})

    def _resume(self) -> None:
        if self.state_path is None or not self.state_path.exists():
            return
        check = self.course.state_check(self.proposer.memory.shape)
        state = checked_state(self.state_path, self.identity, lambda value: check(of_lists(value)))
        self.proposer.memory = state["memory"]
        self.course.load(state)

    def _entry(self, equation: Expression) -> dict[str, Any]:
        """Entry of the newest generation, with the keys of a history."""
        progress = self.course.progress
        return {
            "generation": progress.generations,
            "seconds": self.course.seconds,
            "evaluations": progress.instances,
            "best_nmse": progress.best_nmse,
            "best_length": len(equation),
        }
