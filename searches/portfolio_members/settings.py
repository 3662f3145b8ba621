"""Settings of a portfolio of searches; imports nothing heavy, so that a command line can be refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foundation.settings import Rule, Settings, SettingsError, setting
from searches.evolution.settings import DEFAULT_OPERATORS, check_operators

__all__ = ["LOSSES", "METHODS", "PortfolioSettings"]

METHODS = ("regression", "genetic_programming", "structures", "map")
"""The searches that a portfolio can run, in the order in which they begin."""

LOSSES = ("squares", "huber")
"""What a search makes small: squared errors, or Huber's loss, to which outliers say little."""


def _are_methods(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(method in METHODS for method in value)


SOME_METHODS = Rule(_are_methods, f"a list of some of {', '.join(METHODS)}")


@dataclass(frozen=True, kw_only=True)
class PortfolioSettings(Settings):
    """Settings of a portfolio of searches.

    Attributes:
        operators: names of the operators that equations may hold, from the operator table. The default ones also
            stand for `abs`, `max`, `min` and `pow`, which regression may write.
        methods: names of the searches that share the budget.
        loss: `squares`, or `huber` for tables with outliers: errors beyond a few standard deviations of the others
            count less, gross ones nothing. A first search, with a part of the budget, shows which these are.
        seconds: budget by the clock, from the call to its return; None: no limit.
        evaluations: budget of computations of one equation on the search rows, those of constant fitting included;
            None: no limit. Regression counts as the evaluations that take as long. With this budget alone, what is
            found does not depend on how fast the machine is.
        search_rows: number of rows that the searches look at.
        fit_rows: number of rows on which equations are refined; the picked one is then fitted on up to 100,000
            rows, and all are scored on every row.
        columns: largest number of columns that the searches look at: those that explain most of the target.
        max_length: largest number of nodes of an equation.
        max_complexity: largest complexity of an equation on the front (nodes of its SymPy tree); None: any.
        turn_seconds: time after which a search hands over what it has found; without `seconds`, it does so
            after every generation.
        stop_when_exact: whether the portfolio ends as soon as an equation is exact on all rows.
        stop_when_settled: whether the portfolio ends when the equation that it would pick has stayed the same
            while the time spent doubled, is likely the law, has no competitor, and leaves residuals that look like
            independent noise.
        polish_equations: number of equations of the front that are pruned, rounded and simplified at the end.
        simplify_seconds: SymPy's time limit for the picked one, and for all others together; 0: no SymPy, whose
            answers depend on how fast the machine is.

    Raises:
        SettingsError: a value is not allowed, or nothing limits the search.
    """

    group = "search"

    operators: tuple[str, ...] = setting(DEFAULT_OPERATORS)
    methods: tuple[str, ...] = setting(METHODS, rule=SOME_METHODS)
    loss: str = setting("squares", choices=LOSSES)
    seconds: float | None = setting(30.0, above=0)
    evaluations: int | None = setting(None, least=1)
    search_rows: int = setting(300, least=2)
    fit_rows: int = setting(10_000, least=10)
    columns: int = setting(12, least=1)
    max_length: int = setting(60, least=1, most=500)
    max_complexity: int | None = setting(None, least=1)
    turn_seconds: float = setting(0.3, above=0)
    stop_when_exact: bool = setting(True)
    stop_when_settled: bool = setting(True)
    polish_equations: int = setting(6, least=0)
    simplify_seconds: float = setting(3.0, least=0)

    def _check_together(self) -> None:
        check_operators("operators", self.operators)
        if self.seconds is None and self.evaluations is None:
            raise SettingsError("the search would never end: give search.seconds or search.evaluations")
