"""Settings of a genetic programming search, checked as soon as they are given.

Imports nothing heavy, so that a command line can be refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundation.errors import near
from foundation.settings import Rule, Settings, SettingsError, setting

__all__ = ["DEFAULT_MUTATIONS", "DEFAULT_OPERATORS", "MUTATIONS", "GeneticProgrammingSettings", "check_operators"]

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
MOST_ISLANDS = 10_000
"""Largest number of populations: each takes a part of a second for a generation."""
_BYTES_AN_INDIVIDUAL = 20_000  # of a parent and its child, with the state on disk
_BYTES_A_FUNCTION = 6_000  # of a bank, with its values on 300 rows


def _two_heights(value: Any) -> bool:
    heights = value if isinstance(value, list | tuple) else ()
    return len(heights) == 2 and all(type(height) is int for height in heights) and 0 <= heights[0] <= heights[1]


HEIGHTS = Rule(_two_heights, "two whole numbers, the smaller one first, such as [1,3]")


@dataclass(frozen=True, kw_only=True)
class GeneticProgrammingSettings(Settings):
    """Settings of a search; the defaults are ours, `experiment=autoencoder_paper` holds the paper's.

    Attributes:
        operators: names of the allowed operators, from the operator table.
        constants: whether equations may hold constants, which are then fitted.
        linear_scaling: whether every equation f stands for its best `a*f + b`.
        population: number of individuals of an island.
        islands: number of populations that evolve side by side.
        migration_interval: generations between exchanges of individuals.
        migrants: number of individuals that an island sends.
        selection: `nsga2` on (error, complexity), or `tournament` on the error with generational replacement.
        tournament: size of the tournament, for `selection=tournament`.
        fresh_share: share of the offspring that are new random trees.
        crossover: probability that a pair of parents is crossed.
        mutation: probability that a child is mutated.
        always_vary: whether children that were not crossed are mutated, instead of being copies of their parents.
        mutations: weight of every kind of mutation, see `searches.evolution.breeding.Breeder`; None: our own.
        first_height: least and largest height of the random first trees.
        max_height: largest number of levels of a tree.
        max_length: largest number of nodes of a tree.
        bank_size: number of functions in the bank from which the mutations `term` and `factor` draw, see
            `searches.evolution.feature_bank`.
        bank_interval: generations after which the bank is renewed.
        linked_sums: number of equations of regression alone (`searches.links.sums`: a few seconds, and a
            quarter of `seconds` at most) in the first population of the first island; 0: none.
        greedy_terms: largest number of terms of the sums of bank functions in the first population.
        refuse_duplicates: whether individuals are skipped whose canonical skeleton was tried `skeleton_tries`
            times before (once where there are no constants, which would be other starting points), and one
            individual of a skeleton is kept.
        skeleton_tries: number of times that a skeleton is tried.
        fit_share: share of new individuals whose constants are fitted by `fit_iterations` steps of
            Levenberg-Marquardt: those of lowest error against the best known of their size or less.
        fit_iterations: number of steps of the first fit.
        polish_share: share of the fitted individuals that are then fitted further.
        polish_iterations: number of steps of the further fit.
        search_rows: number of rows that the search looks at; final equations are scored on all.
        generations: budget of generations; None: no limit. The first budget that is spent ends the search.
        evaluations: budget of evaluations; None: no limit.
        seconds: budget of seconds by the clock; None: no limit.
        finish_share: share of `seconds` kept for the last fit, simplification and snapping.
        stop_when_exact: whether the search ends as soon as an equation is exact on all rows.
        finish_iterations: number of steps of the last fit, on up to 4,000 rows.
        polish_equations: number of equations of the front that are pruned, rounded and simplified at the end.
        simplify_seconds: SymPy's time limit for the picked one, and for all others together; 0: no SymPy.

    Raises:
        SettingsError: a value is not allowed.
    """

    group = "search"

    operators: tuple[str, ...] = setting(DEFAULT_OPERATORS)
    constants: bool = setting(True)
    linear_scaling: bool = setting(True)
    population: int = setting(300, least=2)
    islands: int = setting(1, least=1, most=MOST_ISLANDS)
    migration_interval: int = setting(10, least=1)
    migrants: int = setting(10, least=0)
    selection: str = setting("nsga2", choices=("nsga2", "tournament"))
    tournament: int = setting(5, least=1)
    fresh_share: float = setting(0.05, least=0, most=1)
    crossover: float = setting(0.6, least=0, most=1)
    mutation: float = setting(0.4, least=0, most=1)
    always_vary: bool = setting(True)
    mutations: dict[str, float] | None = setting(None)
    first_height: tuple[int, int] = setting((1, 3), rule=HEIGHTS)
    max_height: int = setting(12, least=0, most=100)
    max_length: int = setting(60, least=1, most=5_000)
    bank_size: int = setting(1000, least=0)
    bank_interval: int = setting(5, least=0)
    linked_sums: int = setting(40, least=0)
    greedy_terms: int = setting(8, least=0)
    refuse_duplicates: bool = setting(True)
    skeleton_tries: int = setting(10, least=1)
    fit_share: float = setting(0.4, least=0, most=1)
    fit_iterations: int = setting(6, least=0)
    polish_share: float = setting(0.2, least=0, most=1)
    polish_iterations: int = setting(30, least=0)
    search_rows: int = setting(300, least=1)
    generations: int | None = setting(None, least=0)
    evaluations: int | None = setting(None, least=1)
    seconds: float | None = setting(30.0, least=0)
    finish_share: float = setting(0.15, least=0, most=1)
    stop_when_exact: bool = setting(True)
    finish_iterations: int = setting(10, least=0)
    polish_equations: int = setting(6, least=0)
    simplify_seconds: float = setting(3.0, least=0)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the populations, and of the banks of functions with their values on the search rows."""
        return {
            ("population", "islands"): float(_BYTES_AN_INDIVIDUAL * self.population * self.islands),
            ("bank_size", "islands"): float(_BYTES_A_FUNCTION * self.bank_size * self.islands),
        }

    @property
    def mutation_weights(self) -> dict[str, float]:
        """Weight of every kind of mutation."""
        return dict(DEFAULT_MUTATIONS if self.mutations is None else self.mutations)

    def _check_together(self) -> None:
        check_operators("operators", self.operators)
        _check_mutations(self.mutation_weights)
        if self.generations is None and self.evaluations is None and self.seconds is None:
            raise SettingsError("the search has no budget: set search.generations, evaluations or seconds")


def check_operators(name: str, operators: tuple[str, ...]) -> None:
    """Check that operators exist, and that one of them joins two parts.

    Args:
        name: name of the setting that holds them.
        operators: names of operators.

    Raises:
        SettingsError: there is no such operator, or none has two arguments.
    """
    from expressions.operators import BY_NAME

    for operator in operators:
        if operator not in BY_NAME:
            raise SettingsError(
                f"search.{name}: the operator {operator!r} is unknown; {near(str(operator), BY_NAME)}"
            )
    if not any(BY_NAME[operator].arity == 2 for operator in operators):
        raise SettingsError(f"search.{name} holds none with two arguments: add one, such as add")


def _check_mutations(mutations: Mapping[str, float]) -> None:
    weight = Rule(lambda value: type(value) in (int, float) and 0 <= value < float("inf"), "a number, at least 0")
    for name, value in mutations.items():
        if name not in MUTATIONS:
            raise SettingsError(f"the mutation {name!r} is unknown; {near(str(name), MUTATIONS)}")
        if not weight.allows(value):
            raise GeneticProgrammingSettings.refused(f"mutations.{name}", value, weight)
