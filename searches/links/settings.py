"""Settings of a search by regression; imports nothing heavy, so that a command line can be refused at once."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.settings import Settings, setting
from searches.evolution.settings import DEFAULT_OPERATORS

__all__ = ["LinkRegressionSettings"]


@dataclass(frozen=True, kw_only=True)
class LinkRegressionSettings(Settings):
    """Settings of a search by regression.

    Attributes:
        operators: operators that may occur, by their names in the operator table, beside `neg` and powers; `div`
            stands for `inv`, and `mul` for `square`. The default ones also stand for `abs`, `max`, `min` and
            `pow`.
        equations: number of equations that regression hands over.
        seconds: budget of the whole search by the clock; None: no limit, and always the same equations.
        search_rows: number of rows that errors are compared on; the regression itself looks at 200 at most.
        finish_iterations: steps of the last fit of constants, on up to 4,000 rows.
        polish_equations: number of equations of the front that are pruned, rounded and simplified at the end.
        simplify_seconds: time limit for SymPy on the picked equation, and on all others together; 0: no SymPy.
    """

    group = "search"

    operators: tuple[str, ...] = setting(DEFAULT_OPERATORS)
    equations: int = setting(40, least=1)
    seconds: float | None = setting(None, above=0)
    search_rows: int = setting(300, least=2)
    finish_iterations: int = setting(10, least=0)
    polish_equations: int = setting(6, least=0)
    simplify_seconds: float = setting(3.0, least=0)
