"""What a genetic programming search can be told, checked as soon as it is said.

Imports nothing heavy, so that a command line can be refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from expressions.operators import BY_NAME
from foundation.errors import near
from searches.common.setting_checks import (
    SettingsError,
    check_number,
    check_share,
    check_switch,
    check_whole,
    is_number,
)

__all__ = ["DEFAULT_MUTATIONS", "DEFAULT_OPERATORS", "MUTATIONS", "GeneticProgrammingSettings", "SettingsError"]

DEFAULT_OPERATORS = ("add", "sub", "mul", "div", "square", "sqrt", "exp", "log", "sin", "cos", "tanh")
DEFAULT_MUTATIONS = {
    "subtree": 1.0,
    "node": 1.0,
    "insert": 1.0,
    "shrink": 1.0,
    "hoist": 0.3,
    "constant": 0.5,
    "affine": 1.0,
    "term": 2.0,
    "swap": 1.0,
    "factor": 0.5,
    "ridge": 1.0,
}
MUTATIONS = tuple(DEFAULT_MUTATIONS)


@dataclass(frozen=True)
class GeneticProgrammingSettings:
    """Settings of a search; the defaults are ours, `experiment=autoencoder_paper` holds the paper's.

    Attributes:
        operators: names in the operator table.
        constants: whether equations may hold constants, which are then fitted.
        linear_scaling: whether every equation f stands for its best `a*f + b`.
        population: individuals an island.
        islands: populations that evolve side by side.
        migration_interval: generations between exchanges; `migrants`: individuals exchanged.
        selection: `nsga2` on (error, complexity), or `tournament` on the error with generational replacement.
        tournament: size of the tournament, for `selection=tournament`.
        fresh_share: share of the offspring that are new random trees.
        crossover, mutation: probability for a pair, for a child.
        always_vary: mutate children that were not crossed, instead of copying their parents.
        mutations: weight of every kind of mutation, see `searches.evolution.breeding.Breeder`.
        first_height: least and largest height of random first trees.
        max_height, max_length: limits on trees, in levels and nodes.
        bank_size, bank_interval: functions in the bank from which the mutations `term` and `factor` draw, see
            `searches.evolution.feature_bank`, and the generations after which it is renewed.
        linked_sums: how many equations that regression alone finds (`searches.links.sums`: a few seconds,
            and a quarter of `seconds` at most) the first population of the first island is given; 0: none.
        greedy_terms: the longest sums of functions of the bank that the first population is given.
        refuse_duplicates: skip individuals whose canonical skeleton was tried `skeleton_tries` times before (once
            where there are no constants, which would be other starting points), and keep one a skeleton.
        fit_share: share of new individuals whose constants are fitted by `fit_iterations` steps of
            Levenberg-Marquardt: those of lowest error against the best known of their size or less.
        polish_share, polish_iterations: share of them that is then fitted further.
        search_rows: rows that the search looks at; final equations are scored on all.
        generations, evaluations, seconds: budgets; the first that is spent ends the search. None: no limit.
        finish_share: share of `seconds` kept for the last fit, simplification and snapping.
        stop_when_exact: end as soon as an equation is exact on all rows.
        finish_iterations: steps of the last fit, on up to 4,000 rows.
        polish_equations: how many equations of the front are pruned, rounded and simplified at the end.
        simplify_seconds: SymPy's time limit for the picked one, and for all others together; 0: no SymPy.

    Raises:
        SettingsError: a value is not allowed.
    """

    operators: tuple[str, ...] = DEFAULT_OPERATORS
    constants: bool = True
    linear_scaling: bool = True
    population: int = 300
    islands: int = 1
    migration_interval: int = 10
    migrants: int = 10
    selection: str = "nsga2"
    tournament: int = 5
    fresh_share: float = 0.05
    crossover: float = 0.6
    mutation: float = 0.4
    always_vary: bool = True
    mutations: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_MUTATIONS))
    first_height: tuple[int, int] = (1, 3)
    max_height: int = 12
    max_length: int = 60
    bank_size: int = 1000
    linked_sums: int = 40
    greedy_terms: int = 8
    bank_interval: int = 5
    refuse_duplicates: bool = True
    skeleton_tries: int = 10
    fit_share: float = 0.4
    fit_iterations: int = 6
    polish_share: float = 0.2
    polish_iterations: int = 30
    search_rows: int = 300
    generations: int | None = None
    evaluations: int | None = None
    seconds: float | None = 30.0
    finish_share: float = 0.15
    stop_when_exact: bool = True
    finish_iterations: int = 10
    polish_equations: int = 6
    simplify_seconds: float = 3.0

    def __post_init__(self) -> None:
        for name in ("operators", "first_height"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise SettingsError(f"{name}={value!r} is not allowed: it must be a list, such as [a,b]")
            object.__setattr__(self, name, tuple(value))
        if not isinstance(self.mutations, Mapping):
            raise SettingsError(f"mutations={self.mutations!r} is not allowed: it must map names to weights")
        object.__setattr__(self, "mutations", dict(self.mutations))
        _check_settings(self)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> GeneticProgrammingSettings:
        """Settings from a configuration.

        Raises:
            SettingsError: an option is unknown or not allowed.
        """
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise SettingsError(f"{name} is not a setting of the search; {near(name, known)}")
        return cls(**options)


_LEAST: dict[str, int] = {
    "population": 2,
    "islands": 1,
    "migration_interval": 1,
    "migrants": 0,
    "tournament": 1,
    "max_height": 0,
    "max_length": 1,
    "bank_size": 0,
    "bank_interval": 0,
    "linked_sums": 0,
    "greedy_terms": 0,
    "skeleton_tries": 1,
    "fit_iterations": 0,
    "polish_iterations": 0,
    "search_rows": 1,
    "finish_iterations": 0,
    "polish_equations": 0,
}
_SHARES = ("fresh_share", "crossover", "mutation", "fit_share", "polish_share", "finish_share")
_SWITCHES = ("constants", "linear_scaling", "always_vary", "refuse_duplicates", "stop_when_exact")
_SELECTIONS = ("nsga2", "tournament")


def _check_settings(settings: GeneticProgrammingSettings) -> None:
    for name, least in _LEAST.items():
        check_whole(name, getattr(settings, name), least)
    for name in _SHARES:
        check_share(name, getattr(settings, name))
    for name in _SWITCHES:
        check_switch(name, getattr(settings, name))
    if settings.selection not in _SELECTIONS:
        raise SettingsError(
            f"selection={settings.selection!r} is unknown; {near(settings.selection, _SELECTIONS)}"
        )
    _check_operators(settings)
    _check_mutations(settings)
    _check_heights(settings.first_height)
    _check_budgets(settings)


def _check_operators(settings: GeneticProgrammingSettings) -> None:
    for name in settings.operators:
        if name not in BY_NAME:
            raise SettingsError(f"the operator {name!r} is unknown; {near(str(name), BY_NAME)}")
    if not any(BY_NAME[name].arity == 2 for name in settings.operators):
        raise SettingsError("operators holds none with two arguments: add one, such as add")


def _check_mutations(settings: GeneticProgrammingSettings) -> None:
    for name, weight in settings.mutations.items():
        if name not in MUTATIONS:
            raise SettingsError(f"the mutation {name!r} is unknown; {near(str(name), MUTATIONS)}")
        if not (is_number(weight) and weight >= 0):
            raise SettingsError(f"mutations.{name}={weight!r} is not allowed: a weight is a number, at least 0")


def _check_heights(heights: tuple[int, int]) -> None:
    if (
        len(heights) != 2
        or not all(type(height) is int for height in heights)
        or not 0 <= heights[0] <= heights[1]
    ):
        raise SettingsError(f"first_height={list(heights)} is not allowed: two whole numbers, such as [1,3]")


def _check_budgets(settings: GeneticProgrammingSettings) -> None:
    if settings.generations is not None:
        check_whole("generations", settings.generations, 0)
    if settings.evaluations is not None:
        check_whole("evaluations", settings.evaluations, 1)
    if settings.seconds is not None:
        check_number("seconds", settings.seconds)
    check_number("simplify_seconds", settings.simplify_seconds)
    if settings.generations is None and settings.evaluations is None and settings.seconds is None:
        raise SettingsError("the search has no budget: set generations, evaluations or seconds")
