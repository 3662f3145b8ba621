"""This project's searches under one call: `auto`, which is all of them, and each alone.

Times are by the clock, on the core that a cell is pinned to. What is imported, started or loaded once is so
before the clock starts: the map of equations, and the process that SymPy runs in.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.simplest_form import simplify
from searches.portfolio import MAP_SECONDS
from searches.search_result import SearchResult

__all__ = ["OWN_SEARCHES", "Search", "prepare"]

Rows = tuple[np.ndarray, np.ndarray]
_START_SECONDS = 60.0  # that SymPy's process may take to start, on a busy machine


@dataclass
class Search:
    """A search that is to run.

    Attributes:
        train: inputs `[rows, variables]` and target `[rows]` to search on.
        validation: the same to choose by; None: the training rows.
        seconds: budget by the clock.
        seed: random seed for every draw.
        operators: names of the allowed operators; None: those of the search.
        weights: file of the map of equations; `pretrained` for the one that comes with the package.
        first_seconds: seconds until the search showed its first equation; None while it has not.
    """

    train: Rows
    validation: Rows | None
    seconds: float
    seed: int
    operators: tuple[str, ...] | None = None
    weights: str = "pretrained"
    first_seconds: float | None = None
    _begun: float = field(default=0.0, repr=False)

    def run(self, method: str) -> SearchResult:
        """Run one of `OWN_SEARCHES`.

        Raises:
            KeyError: there is no such search.
            ValueError: the data cannot be searched.
        """
        self._begun = time.perf_counter()
        result = OWN_SEARCHES[method][1](self)
        self._show()  # a search without generations shows what it has at its end
        return result

    def _show(self, *_: Any) -> None:
        if self.first_seconds is None:
            self.first_seconds = time.perf_counter() - self._begun

    def _progress(self, progress: Any) -> None:
        if len(progress.front):
            self._show()

    def _named(self, key: str = "operators") -> dict[str, Any]:
        return {} if self.operators is None else {key: self.operators}

    def _given(self) -> dict[str, Any]:
        return {"seed": self.seed, "validation": self.validation}


def prepare(method: str, weights: str = "pretrained", seconds: float = math.inf) -> None:
    """Import what a search of so many seconds needs, start SymPy's process, and load the map where it is used."""
    simplify(Expression.variable(0), seconds=_START_SECONDS)  # an answer: its process has imported SymPy
    importlib.import_module(OWN_SEARCHES[method][0])
    if method in ("explain", "map") or (method == "auto" and seconds >= MAP_SECONDS):
        _map(weights)


@cache
def _map(weights: str) -> Any:
    from benchmarks.maps import load_map

    return load_map(weights)


def _auto(search: Search) -> SearchResult:
    from searches.portfolio import PortfolioSettings
    from searches.portfolio import search as run

    settings = PortfolioSettings(seconds=search.seconds, **search._named())
    known = _map(search.weights) if search.seconds >= MAP_SECONDS else None
    return run(*search.train, settings, latent_map=known, on_progress=search._progress, **search._given())


def _explain(search: Search) -> SearchResult:
    """What a person calls: it keeps rows to choose by, fits to all, and loads the packaged map if it needs it."""
    from rediscover.fitting import explain
    from searches.portfolio import PortfolioSettings

    settings = PortfolioSettings(seconds=search.seconds, **search._named())
    return explain(*search.train, settings, seed=search.seed, on_progress=search._progress)


def _regression(search: Search) -> SearchResult:
    from searches.link_regression import LinkRegressionSettings
    from searches.link_regression import search as run

    settings = LinkRegressionSettings(seconds=search.seconds, **search._named())
    return run(*search.train, settings, **search._given())


def _genetic_programming(search: Search) -> SearchResult:
    from searches.evolution.settings import GeneticProgrammingSettings
    from searches.genetic_programming import search as run

    settings = GeneticProgrammingSettings(seconds=search.seconds, **search._named())
    return run(*search.train, settings, on_generation=search._show, **search._given())


def _structures(search: Search) -> SearchResult:
    from searches.structures import StructureSearchSettings
    from searches.structures import search as run

    settings = StructureSearchSettings(seconds=search.seconds)
    return run(*search.train, settings, on_generation=search._show, **search._given())


def _latent_cmaes(search: Search) -> SearchResult:
    """The map alone: no genetic programming after it."""
    from searches.latent_cmaes import search as run
    from searches.latent_space.settings import LatentSearchSettings

    settings = LatentSearchSettings(seconds=search.seconds, polish="none", **search._named("polish_operators"))
    known = _map(search.weights)
    return run(*search.train, settings, latent_map=known, on_generation=search._show, **search._given())


OWN_SEARCHES: dict[str, tuple[str, Callable[[Search], SearchResult]]] = {
    "auto": ("searches.portfolio", _auto),
    "explain": ("rediscover.fitting", _explain),
    "regression": ("searches.link_regression", _regression),
    "genetic_programming": ("searches.genetic_programming", _genetic_programming),
    "structures": ("searches.structures", _structures),
    "map": ("searches.latent_cmaes", _latent_cmaes),
}
"""Name -> module that is imported before the clock starts, and the function."""
