"""What the parameters of `SymbolicRegressor` mean, checked when a fit begins."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from expressions.expression import Expression
from expressions.operators import BY_NAME
from expressions.own_operators import CustomOperator, register
from expressions.parsing import parse
from foundation.errors import UserError, near
from foundation.machine import cores
from foundation.settings import processes_rule
from searches.portfolio import LOSSES, METHODS, PortfolioSettings

__all__ = [
    "AT_ONCE",
    "AUTO",
    "Budget",
    "ParameterError",
    "operator_names",
    "own_operators",
    "read_equation",
    "read_guesses",
    "settings_of",
    "workers_of",
]

AUTO = "auto"
_SIMPLIFY_SECONDS: float = PortfolioSettings.defaults()["simplify_seconds"]
_POLISHED: int = PortfolioSettings.defaults()["polish_equations"]
_EVALUATIONS_TO_POLISH = 300  # evaluations of a budget for every equation that is pruned and rounded in the end
_DEFAULT_OPERATORS: tuple[str, ...] = PortfolioSettings.defaults()["operators"]


class ParameterError(UserError, ValueError):
    """A parameter whose value is not allowed."""


@dataclass(frozen=True)
class Budget:
    """What one target may cost.

    Attributes:
        seconds: time by the clock; None: no limit.
        evaluations: computations of one equation on the search rows; None: no limit.
    """

    seconds: float | None
    evaluations: int | None

    @classmethod
    def of(cls, max_time: Any, max_evaluations: Any) -> Budget:
        """The budget of a whole fit.

        Raises:
            ParameterError: a limit is not a positive number, or there is none.
        """
        seconds = None if max_time is None else _number("max_time", max_time, "a number of seconds above 0")
        evaluations = None if max_evaluations is None else _whole("max_evaluations", max_evaluations, 1)
        if seconds is None and evaluations is None:
            raise ParameterError("the fit would never end: give max_time or max_evaluations")
        return cls(seconds, evaluations)

    def share(self, spent: float, targets: int) -> Budget:
        """The budget of the next target.

        Args:
            spent: seconds since the fit began.
            targets: number of targets that are still to come.
        """
        seconds = None if self.seconds is None else max((self.seconds - spent) / targets, 1e-3)
        return Budget(seconds, None if self.evaluations is None else -(-self.evaluations // targets))


AT_ONCE = Budget(1e-3, None)
"""Budget of a target whose search is over before it begins."""


def settings_of(
    budget: Budget, method: Any, operators: Sequence[str], max_complexity: Any, loss: Any = LOSSES[0]
) -> PortfolioSettings:
    """Settings of the search of one target.

    With a budget of evaluations alone nothing may depend on the clock: SymPy, which needs a time limit, is left
    out, and so is the map of equations unless it is the method asked for.

    Raises:
        ParameterError: a value is not allowed.
    """
    if method != AUTO and method not in METHODS:
        raise ParameterError(f"method={method!r} is not allowed: {near(str(method), [AUTO, *METHODS])}")
    if loss not in LOSSES:
        raise ParameterError(f"loss={loss!r} is not allowed: {near(str(loss), LOSSES)}")
    timeless, evaluations = budget.seconds is None, budget.evaluations
    usual = tuple(each for each in METHODS if each != "map" or not timeless)
    return PortfolioSettings(
        operators=tuple(operators),
        loss=loss,
        methods=usual if method == AUTO else (method,),
        seconds=budget.seconds,
        evaluations=budget.evaluations,
        max_complexity=None if max_complexity is None else _whole("max_complexity", max_complexity, 1),
        simplify_seconds=0.0 if timeless else _SIMPLIFY_SECONDS,
        polish_equations=_POLISHED
        if evaluations is None
        else min(_POLISHED, 1 + evaluations // _EVALUATIONS_TO_POLISH),
    )


def own_operators(operators: Any) -> dict[str, CustomOperator]:
    """The functions among the operators, by name."""
    given = operators if isinstance(operators, Mapping) else {}
    return {
        name: each if isinstance(each, CustomOperator) else CustomOperator(each)
        for name, each in given.items()
        if each is not None
    }


def operator_names(operators: Any) -> tuple[str, ...]:
    """Names of the operators that a fit may use; those of one's own are put into the operator table.

    Args:
        operators: None for the default ones; names; or a mapping that holds functions by name, and shipped
            operators with the value None. A mapping of functions alone adds them to the default ones.

    Raises:
        ParameterError: an operator is unknown.
        expressions.own_operators.OperatorError: a function cannot be an operator.
    """
    if operators is None:
        return _DEFAULT_OPERATORS
    if isinstance(operators, str) or not isinstance(operators, Iterable):
        raise ParameterError(f"operators={operators!r} is not allowed: give a list of names, or a mapping")
    own = own_operators(operators)
    register(own)
    shipped = [name for name in operators if name not in own]
    if isinstance(operators, Set):  # which has another order in every process
        shipped.sort()
    for name in shipped:
        if name not in BY_NAME:
            raise ParameterError(f"the operator {name!r} is unknown; {near(str(name), BY_NAME)}")
    names = [*(shipped or _DEFAULT_OPERATORS), *own]
    if not any(BY_NAME[name].arity == 2 for name in names):
        raise ParameterError(f"operators={names} holds none with two arguments: add one, such as 'add'")
    return tuple(dict.fromkeys(names))


def read_guesses(guesses: Any, names: Sequence[str]) -> list[Expression]:
    """Equations to start from.

    Args:
        guesses: None; one equation or a list of them, as text in the features' names or as expressions.
        names: names of the features in equations.

    Raises:
        ParameterError: a guess is neither, or uses a feature that is not there.
        expressions.parsing.ParseError: a text is not an equation.
    """
    if guesses is None:
        return []
    return [
        read_equation(each, names) for each in ([guesses] if isinstance(guesses, str | Expression) else guesses)
    ]


def read_equation(given: Any, names: Sequence[str]) -> Expression:
    """One equation; the arguments and errors are those of `read_guesses`."""
    if isinstance(given, str):
        return parse(given, names)
    if not isinstance(given, Expression):
        raise ParameterError(f"{given!r} is no equation: give a text such as '2*{names[0]} + 1'")
    if given.variables and given.variables[-1] >= len(names):
        raise ParameterError(f"{given.infix()} uses a feature that is not there: X has {len(names)}")
    return given


def workers_of(n_jobs: Any) -> int:
    """Number of processes: None is one, -1 all cores, -2 all but one, as joblib counts.

    Raises:
        ParameterError: it is no whole number, or 0.
    """
    if n_jobs is None:
        return 1
    if not isinstance(n_jobs, numbers.Integral) or n_jobs == 0:
        raise ParameterError(
            f"n_jobs={n_jobs!r} is not allowed: it must be a number of processes, or -1 for all cores"
        )
    rule = processes_rule()
    count = int(n_jobs)
    if count > 0 and not rule.allows(count):
        raise ParameterError(f"n_jobs={n_jobs} is not allowed: it must be {rule.words}")
    return count if count > 0 else max(1, cores() + 1 + count)


def _number(name: str, value: Any, words: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < float("inf"):
        raise ParameterError(f"{name}={value!r} is not allowed: it must be {words}, or None")
    return float(value)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        raise ParameterError(
            f"{name}={value!r} is not allowed: it must be a whole number, at least {least}, or None"
        )
    return int(value)
