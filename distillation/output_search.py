"""One output of a network, or one factor of its outputs: a search that may run in a process of its own.

`callbacks.distillation` spreads it over processes; `distillation.distilling` searches alike in its own.
"""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path

from distillation.fitting.one_search import Course, Effort
from distillation.fitting.outputs import search_output
from distillation.fitting.table import Table
from expressions.expression import Expression
from foundation.files import replace_file
from searches.pareto_front import ParetoFront
from searches.portfolio import PortfolioSettings
from searches.search_result import SearchResult

__all__ = ["search"]

_SIGN_SECONDS = 5.0  # between two signs of life


def search(
    table: Table,
    place: int,
    answers: bytes | None,
    settings: PortfolioSettings,
    *,
    seed: int,
    workers: int = 1,
    state_path: Path | str | None = None,
    on_generation: Callable[[dict[str, float], Expression], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search for equations of one output, with questions to its network.

    Args:
        table: rows of the output alone.
        place: number of the output in what the network says.
        answers: pickled `distillation.questions.answers.Answers`, of this process or of its parent; None: the
            network is not asked.
        settings: settings of the search.
        seed: random seed: with a budget of evaluations alone, same seed, settings, data and number of workers,
            same result.
        workers: number of processes.
        state_path: file that shows that the search lives. A search that was cut off begins anew.
        on_generation: function that is called some five times a second with an entry of the history.
        should_stop: function that says whether to end.

    Returns:
        The front; `validation_nmse` is the error on the rows that judge.
    """
    sign = _Sign(state_path)

    def told(entry: dict[str, float], best: Expression) -> None:
        sign.give(entry)
        if on_generation is not None:
            on_generation(entry, best)

    course = Course(told, should_stop or (lambda: False))
    seconds = math.inf if settings.seconds is None else settings.seconds
    asked = None if answers is None else (pickle.loads(answers), place)
    front = search_output(table, Effort(settings, seconds, seed, workers, course=course), (), asked)
    return SearchResult(
        front=ParetoFront(list(front.candidates)),
        history=course.history,
        seconds=front.seconds,
        evaluations=course.evaluations,
        stopped="interrupted" if course.should_stop() else course.stopped,
    )


class _Sign:
    """A file that changes while a search lives: whoever waits for its result looks at it."""

    def __init__(self, path: Path | str | None) -> None:
        self._path, self._last = path, -math.inf

    def give(self, entry: dict[str, float]) -> None:
        """Write how far the search is, unless that was just now."""
        now = time.monotonic()
        if self._path is not None and now - self._last > _SIGN_SECONDS:
            self._last = now
            replace_file(Path(self._path), json.dumps(entry))
